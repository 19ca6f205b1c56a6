"""The sections of the configuration as immutable dataclasses; file.py fills them.

A setting exists here only when some code obeys it. Each field carries its parser and its rule in
its metadata, so that loading, the error texts and docs/settings.md share one table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from coredumpd import errors
from coredumpd.settings import backends, limits, values


@dataclasses.dataclass(frozen=True)
class PolicySettings:
    """How the handler treats a crash. The agent writes it to `<hostDir>/policy.json`."""

    hostCrashes: str = values.setting(
        "ignore",
        *values.one_of("ignore", "store"),
        "whether crashes of processes outside any pod are stored",
    )
    capture: str = values.setting(
        "enabled",
        *values.one_of("enabled", "disabled"),
        "whether crashes in pods are captured; a namespace's annotation"
        " coredump.fujitsu.com/capture overrides this, a pod's can only disable it",
    )
    maxSize: int = values.setting(
        "8Gi",
        *values.SIZE,
        "longer cores are truncated and marked; a namespace's annotation"
        " coredump.fujitsu.com/max-size overrides this, a pod's can only lower it",
    )
    captureTimeout: float = values.setting(
        "5m", *values.DURATION, "a capture stops after this long; its core is truncated"
    )
    runtimeStateDirs: tuple[str, ...] = values.setting(
        [
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/containers/storage/overlay-containers",
            "/var/lib/docker/containers",
            "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/var/lib/k0s/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        ],
        *values.PATHS,
        "directories on the host in which container runtimes keep one directory per container id;"
        " one that is absent costs a failed open",
    )
    honourRlimit: bool = values.setting(
        False,
        *values.BOOLEAN,
        "whether RLIMIT_CORE of a process limits its core",
    )
    spoolMaxUse: int = values.setting(
        "16Gi", *values.SIZE, "most bytes the spool may use; cores that exceed it are truncated"
    )
    spoolKeepFree: int | str | None = values.setting(
        None,
        *values.or_percentage(values.SIZE),
        "bytes, or percent of the spool's disk, that captures leave free; cores that need them are"
        " truncated. Not set: what keeps this node's kubelet from evicting pods, 15 % unless its"
        " configuration says otherwise, and 1Gi at least",
    )
    spoolKeepFreeInodes: int | str | None = values.setting(
        None,
        *values.or_percentage(values.integer(0, 2**63 - 1)),
        "inodes, or percent of them, that captures leave free; crashes that need them are only"
        " logged. Not set: as for spoolKeepFree, 10 % unless the kubelet's configuration says"
        " otherwise",
    )
    spoolMaxEntries: int = values.setting(
        10_000,
        *values.integer(1, 1_000_000),
        "most dumps that may wait on the node; further crashes are only logged",
    )
    captureSlots: int = values.setting(
        16,
        *values.integer(1, 1024),
        "most cores that are stored at the same time; a pod and a namespace have a quarter of them,"
        " more while they leave as many free, and the last one only if they have none",
    )
    cgroupRoot: str | None = values.setting(
        None,
        *values.PATH,
        "the cgroup in which the kubelet makes kubepods, as the host sees it; not set: the agent"
        " learns it from its own cgroup, or takes /",
    )
    niceness: int = values.setting(
        9, *values.integer(0, 19), "nice value of the handler while it captures"
    )
    procDir: str = values.setting(
        "/proc",
        *values.PATH,
        "the proc filesystem in which the handler reads about the crashed process",
    )


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """`coredumpd agent`."""

    hostDir: str = values.setting(
        "/var/lib/coredumpd",
        *values.PATH,
        "directory of handler versions, spool and state; the same path on the host and in the pod",
    )
    store: str = values.setting(
        "https://coredumpd-api.coredumpd.svc:443",
        *values.TARGET,
        "where dumps are shipped; with https:, a server commits them to its own store, and an agent"
        " can neither read nor remove what is there",
    )
    capture: str = values.setting(
        "auto",
        *values.one_of("auto", "pipe", "socket"),
        "how the kernel hands over a core: pipe starts a handler for each crash, socket (Linux"
        " 6.17) connects to a listener that runs already; auto is pipe, or socket where only that"
        " passes the agent's self-test",
    )
    corePipeLimit: int = values.setting(
        128,
        *values.integer(1, 4096),
        "most crashes at a time that have a handler, whether it stores the core, waits for one of"
        " policy.captureSlots, or is refused; written to kernel.core_pipe_limit. Of these, too, a"
        " pod and a namespace have a quarter, and more while they leave as many free",
    )
    handlersCpuWeight: int = values.setting(
        50,
        *values.integer(1, 10_000),
        "CPU weight of all handlers together (cgroup v2's cpu.weight; v1: cpu.shares, as much of"
        " 1024 as this is of 100), in a cgroup of their own beside those of the pods",
    )
    handlerMemory: int = values.setting(
        "64Mi",
        *values.size_from("48Mi"),
        "memory that the handlers' cgroup has for each of policy.captureSlots, besides 8Mi for each"
        " of corePipeLimit; beyond the sum, the kernel kills one handler",
    )
    kubeletConfig: str | None = values.setting(
        None,
        *values.PATH,
        "the kubelet's configuration file on the host, for its eviction thresholds (see"
        " policy.spoolKeepFree); not set: that of the kubelet which runs, else"
        " /var/lib/kubelet/config.yaml",
    )
    suidDumpable: int | None = values.setting(
        None,
        *values.integer(0, 2),
        "fs.suid_dumpable; not set: left as it is. 2 also dumps programs that changed privileges",
    )
    parallelShips: int = values.setting(2, *values.integer(1, 64), "most dumps shipped at a time")
    stuckAfter: float = values.setting(
        "10m",
        *values.DURATION,
        "after a dump has failed to ship, or a commit has made no progress, for this long, /healthz"
        " fails and an Event on the Node is written",
    )
    unnamedPatience: float = values.setting(
        "2m",
        *values.DURATION,
        "how long a crash that the runtime does not name waits for the API to know its container",
    )
    keptMaxEntries: int = values.setting(
        100,
        *values.integer(0, 100_000),
        "most dumps that stay on the node because nothing proves whose they are, and as many that"
        " were set aside as `<id>.bad`",
    )
    keptMaxUse: int = values.setting("1Gi", *values.SIZE, "most bytes of each of these two kinds")
    keptMaxAge: float = values.setting(
        "168h", *values.DURATION, "how long such a dump is kept; then it is removed, and counted"
    )
    port: int = values.setting(
        9090, *values.integer(0, 65535), "port of /metrics and /healthz; 0: any free port"
    )
    probePort: int = values.setting(
        9091,
        *values.integer(0, 65535),
        "port of /healthz and /livez for the kubelet alone; 0: any free port",
    )


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """`coredumpd server`."""

    store: str = values.setting(
        "file:///var/lib/coredump-store", *values.STORE, "where dumps are read"
    )
    objects: str = values.setting(
        "sqlite:////var/lib/coredumpd-objects/objects.db",
        *values.OBJECTS,
        "where CoredumpEndpoint objects are stored: SQLite for one replica, etcd for several",
    )
    uploadAccount: str | None = values.setting(
        None,
        *values.ACCOUNT,
        "service account of the agents, which may upload dumps; not set: uploads are refused",
    )
    uploadUnboundTokens: bool = values.setting(
        False,
        *values.BOOLEAN,
        "whether a token of uploadAccount that is bound to no pod (of a Secret) may upload: it"
        " proves no node, so its holder may send dumps of every node; all such tokens together"
        " have one node's share",
    )
    uploadsMax: int = values.setting(
        8,
        *values.integer(1, 256),
        "most dumps received at a time; one node has at most a quarter of them, and never the last",
    )
    storeKeepFree: int = values.setting(
        "1Gi",
        *values.SIZE,
        "bytes that uploads leave free in the file system of a directory store; an upload that"
        " needs them is refused, and waits on its node. With onQuota: evict, dumps of the largest"
        " namespaces are removed while less than twice this is free; every pod keeps its newest",
    )
    uploadMinRate: int = values.setting(
        "64Ki",
        *values.SIZE,
        "bytes per second that a node must send on average over uploadRateWindow; a slower upload"
        " is ended, and is tried again later",
    )
    uploadRateWindow: float = values.setting(
        "30s", *values.POSITIVE_DURATION, "how long an upload may be slower than uploadMinRate"
    )
    eventsPerMinute: int = values.setting(
        60,
        *values.integer(4, 6000),
        "most Events on pods that are written in a minute for one node, and a quarter of them for"
        " one pod; more are refused",
    )
    port: int = values.setting(8443, *values.integer(0, 65535), "HTTPS port")
    tlsCertFile: str = values.setting(
        "/etc/coredumpd/tls/tls.crt", *values.PATH, "PEM certificate chain"
    )
    tlsKeyFile: str = values.setting("/etc/coredumpd/tls/tls.key", *values.PATH, "PEM private key")
    connectionsMax: int = values.setting(
        4096,
        *values.integer(16, 1_000_000),
        "most connections at a time, and half of them from one address that is not"
        " kube-apiserver's; one more closes one that waits, of the address with most",
    )
    watchesMax: int = values.setting(
        2048,
        *values.integer(2, 1_000_000),
        "most watches at a time; one user, or the service accounts of one namespace, has at most"
        " half of them, and is ended for those with fewer",
    )
    downloadsMax: int = values.setting(
        512,
        *values.integer(2, 1_000_000),
        "most downloads at a time; nobody gets one more who has as many as are free",
    )
    requestsMax: int = values.setting(
        256,
        *values.integer(2, 1_000_000),
        "most other requests at a time; nobody gets one more who has as many as are free",
    )
    downloadMinRate: int = values.setting(
        "64Ki",
        *values.SIZE,
        "bytes per second that a client must read of a download on average over downloadRateWindow,"
        " while the server has bytes for it; a slower download is cut, and can go on by offset=",
    )
    downloadRateWindow: float = values.setting(
        "60s", *values.POSITIVE_DURATION, "how long a download may be slower than downloadMinRate"
    )
    sendTimeout: float = values.setting(
        "60s",
        *values.DURATION,
        "a client that receives nothing for this long while data waits for it is disconnected",
    )
    sendMax: int = values.setting(
        "48Mi",
        *values.size_from("4Mi"),
        "most bytes of lists and watches that are on their way to clients; nobody gets more of it"
        " than is free, and who reads slowly is disconnected when others wait",
    )
    shutdownDelay: float = values.setting(
        "5s",
        *values.DURATION,
        "after SIGTERM the server is not ready but still accepts connections for this long",
    )
    shutdownGrace: float = values.setting(
        "60s", *values.DURATION, "after that, downloads in progress have this long to finish"
    )
    reloadInterval: float = values.setting(
        "10s",
        *values.POSITIVE_DURATION,
        "how often the server looks for a new certificate, key, and CAs of the cluster",
    )
    tokenCacheTTL: float = values.setting(
        "10s",
        *values.POSITIVE_DURATION,
        "how long the answer to a TokenReview is kept: a revoked token works that much longer",
    )
    authorizationCacheTTL: float = values.setting(
        "10s",
        *values.POSITIVE_DURATION,
        "how long the answer to a SubjectAccessReview is kept: a removed right works that"
        " much longer",
    )


@dataclasses.dataclass(frozen=True)
class CrashLoopSettings:
    """A crash loop: one program crashes again and again in one container, by one signal.

    Agent and server keep the cores of some of its crashes and count the others.
    """

    first: int = values.setting(
        2, *values.integer(0, 1000), "how many of the first crashes of a loop keep their core"
    )
    last: int = values.setting(
        3,
        *values.integer(0, 1000),
        "how many of its latest crashes do; one record counts the others",
    )
    window: float = values.setting(
        "1h",
        *values.DURATION,
        "crashes within this long after the first one of a loop belong to it; 0: no loops, every"
        " crash keeps its core",
    )


@dataclasses.dataclass(frozen=True)
class RetentionSettings:
    """Which dumps the leading server removes from the store, and when."""

    gcThreshold: float = values.setting(
        "24h",
        *values.DURATION,
        "how long dumps of a deleted pod are kept; the namespace's annotation"
        " coredump.fujitsu.com/retention overrides this",
    )
    quota: int = values.setting(
        "10Gi",
        *values.SIZE,
        "most bytes of core.gz that one namespace may keep; its annotation"
        " coredump.fujitsu.com/quota overrides this",
    )
    onQuota: str = values.setting(
        "evict",
        *values.one_of("evict", "reject"),
        "how a namespace over its quota is treated. evict: dumps are removed, of the pods with the"
        " most bytes first, until the quota is met; reject: of a new crash only the record is kept,"
        " until there is room",
    )
    dumpsMax: int = values.setting(
        10_000,
        *values.integer(10, 1_000_000),
        "most dumps that one namespace may keep, whatever their size; treated as its quota is",
    )
    quotaReserve: int = values.setting(
        10,
        *values.integer(0, 50),
        "percent of a quota; agents that write to the store themselves learn a pass too late that"
        " it is reached. So they are told when less than this is left (reject), or when it was"
        " passed by more than this (evict)",
    )
    interval: float = values.setting(
        "1m", *values.DURATION, "time between two passes over the store"
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole configuration: one field for each section, named as in YAML."""

    policy: PolicySettings = dataclasses.field(default_factory=PolicySettings)
    agent: AgentSettings = dataclasses.field(default_factory=AgentSettings)
    server: ServerSettings = dataclasses.field(default_factory=ServerSettings)
    retention: RetentionSettings = dataclasses.field(default_factory=RetentionSettings)
    crashLoop: CrashLoopSettings = dataclasses.field(default_factory=CrashLoopSettings)
    upload: backends.UploadSettings = dataclasses.field(default_factory=backends.UploadSettings)
    bucket: backends.BucketSettings = dataclasses.field(default_factory=backends.BucketSettings)
    etcd: backends.EtcdSettings = dataclasses.field(default_factory=backends.EtcdSettings)
    objectLimits: limits.ObjectLimitsSettings = dataclasses.field(
        default_factory=limits.ObjectLimitsSettings
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Every field that contradicts another one, in its own section or in another."""
        yield from self.etcd.conflicts()
        yield from self.objectLimits.conflicts()
        yield from self.bucket.conflicts()
        schemes = {url.partition("://")[0] for url in (self.agent.store, self.server.store)}
        for scheme in sorted(schemes & set(backends.BUCKET_SCHEMES)):
            yield from self.bucket.conflicts_with(scheme)


SECTIONS: dict[str, type[Any]] = {
    "policy": PolicySettings,
    "agent": AgentSettings,
    "server": ServerSettings,
    "retention": RetentionSettings,
    "crashLoop": CrashLoopSettings,
    "upload": backends.UploadSettings,
    "bucket": backends.BucketSettings,
    "etcd": backends.EtcdSettings,
    "objectLimits": limits.ObjectLimitsSettings,
}
