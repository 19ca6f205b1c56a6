"""Immutable settings per role, and the one loader that reports every problem at once.

A setting exists here only when some code obeys it. Each field carries its parser and its rule in
its metadata, so the configuration file, `docs/operations.md` and the error text share one table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from coredumpd import errors
from coredumpd.settings import values

BUCKET_SCHEMES = ("s3", "gs", "az")


@dataclasses.dataclass(frozen=True)
class PolicySettings:
    """What the handler does with a crash. The agent writes it to `<hostDir>/policy.json`."""

    hostCrashes: str = values.setting(
        "ignore", *values.one_of("ignore", "store"), "crashes of processes outside any pod"
    )
    capture: str = values.setting(
        "enabled",
        *values.one_of("enabled", "disabled"),
        "of crashes in pods; the annotation coredump.fujitsu.com/capture of a namespace overrides"
        " it, that of a pod can only disable",
    )
    maxSize: int = values.setting(
        "8Gi",
        *values.SIZE,
        "longer cores are truncated and marked; the annotation coredump.fujitsu.com/max-size of a"
        " namespace overrides it, that of a pod can only lower it",
    )
    captureTimeout: float = values.setting(
        "5m", *values.DURATION, "a handler gives up after this long"
    )
    runtimeStateDirs: tuple[str, ...] = values.setting(
        [
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/containers/storage/overlay-containers",
            "/var/lib/docker/containers",
        ],
        values.paths,
        "must be a list of absolute paths",
        "where container runtimes keep one directory per container id, on the host",
    )
    honourRlimit: bool = values.setting(
        False, values.boolean, "must be true or false", "RLIMIT_CORE of the process limits its core"
    )
    spoolMaxUse: int = values.setting(
        "16Gi", *values.SIZE, "the spool takes no more; then cores are truncated"
    )
    spoolKeepFree: int = values.setting(
        "1Gi", *values.SIZE, "left free on the spool's disk, as spoolMaxUse"
    )
    spoolMaxEntries: int = values.setting(
        10_000,
        *values.integer(1, 1_000_000),
        "dumps waiting on the node; of more crashes only its log tells",
    )
    niceness: int = values.setting(9, *values.integer(0, 19), "of the handler while it captures")
    procDir: str = values.setting(
        "/proc", *values.PATH, "where the handler reads the crashed process"
    )


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """`coredumpd agent`."""

    hostDir: str = values.setting(
        "/var/lib/coredumpd",
        *values.PATH,
        "versions, spool and state, the same path on host and in pod",
    )
    store: str = values.setting(
        "file:///var/lib/coredump-store",
        values.target_url,
        values.TARGET_RULE,
        "where dumps are shipped to; https: a server that commits them to its own store",
    )
    capture: str = values.setting(
        "auto",
        *values.one_of("auto", "pipe", "socket"),
        "how the kernel hands a core over: to a handler it runs, or (Linux 6.17) to a listener that"
        " waits; auto is pipe",
    )
    corePipeLimit: int = values.setting(
        16, *values.integer(1, 4096), "captures at once; by pipe this is kernel.core_pipe_limit"
    )
    suidDumpable: int | None = values.setting(
        None,
        *values.integer(0, 2),
        "fs.suid_dumpable; not set: left as it is. 2 also dumps programs that changed their rights",
    )
    parallelShips: int = values.setting(2, *values.integer(1, 64), "dumps shipped at once")
    stuckAfter: float = values.setting(
        "10m",
        *values.DURATION,
        "a dump that has failed to ship for so long, or a commit that has taken no byte, makes"
        " /healthz fail and is told by an Event on the Node",
    )
    port: int = values.setting(
        9090, *values.integer(0, 65535), "port of /metrics and /healthz; 0: any free one"
    )


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """`coredumpd server`."""

    store: str = values.setting(
        "file:///var/lib/coredump-store", *values.STORE, "where dumps are read from"
    )
    objects: str = values.setting(
        "sqlite:////var/lib/coredumpd-objects/objects.db",
        values.objects_url,
        values.OBJECTS_RULE,
        "where CoredumpEndpoint objects live: SQLite for one replica, etcd for several",
    )
    uploadAccount: str | None = values.setting(
        None,
        values._account,
        "must be system:serviceaccount:NAMESPACE:NAME",
        "the agents' service account, which may send dumps; not set: nobody may",
    )
    port: int = values.setting(8443, *values.integer(0, 65535), "HTTPS port")
    tlsCertFile: str = values.setting(
        "/etc/coredumpd/tls/tls.crt", *values.PATH, "PEM certificate chain"
    )
    tlsKeyFile: str = values.setting("/etc/coredumpd/tls/tls.key", *values.PATH, "PEM private key")
    connectionsMax: int = values.setting(
        4096,
        *values.integer(16, 1_000_000),
        "when full, a newcomer takes the place of whoever has been silent for longest",
    )
    sendTimeout: float = values.setting(
        "60s", *values.DURATION, "a client that takes none of the bytes sent for so long is cut off"
    )
    shutdownDelay: float = values.setting(
        "5s", *values.DURATION, "on SIGTERM: not ready, but still accepting, for so long"
    )
    shutdownGrace: float = values.setting(
        "60s", *values.DURATION, "then downloads in progress have so long to finish"
    )


@dataclasses.dataclass(frozen=True)
class CrashLoopSettings:
    """Of one container's same program and signal: whose cores are kept. Agent and server."""

    first: int = values.setting(
        2, *values.integer(0, 1000), "so many crashes of a loop keep their core, and"
    )
    last: int = values.setting(
        3, *values.integer(0, 1000), "so many of the latest; one record counts those between"
    )
    window: float = values.setting(
        "1h",
        *values.DURATION,
        "crashes within so long of a loop's first belong to it; 0: every crash keeps its core",
    )


@dataclasses.dataclass(frozen=True)
class UploadSettings:
    """How an agent reaches a server that is its store (`agent.store: https://HOST:PORT`)."""

    caFile: str = values.setting(
        "/etc/coredumpd/tls/ca.crt", *values.PATH, "who signed the server's certificate"
    )
    tokenFile: str = values.setting(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        *values.PATH,
        "the service account's token, read anew for each dump",
    )


@dataclasses.dataclass(frozen=True)
class RetentionSettings:
    """What the leading server removes from the store."""

    gcThreshold: float = values.setting(
        "24h",
        *values.DURATION,
        "dumps of a deleted pod are kept for so long; the namespace's annotation"
        " coredump.fujitsu.com/retention overrides it",
    )
    quota: int = values.setting(
        "10Gi",
        *values.SIZE,
        "bytes of core.gz one namespace may keep; its annotation coredump.fujitsu.com/quota"
        " overrides it",
    )
    onQuota: str = values.setting(
        "evict",
        *values.one_of("evict", "reject"),
        "over quota. evict: the oldest dump of the pod with the most dumps goes, until it is not;"
        " reject: no new core is kept, only its record, until there is room",
    )
    interval: float = values.setting("1m", *values.DURATION, "between two passes over the store")


@dataclasses.dataclass(frozen=True)
class BucketSettings:
    """How agent and server reach a bucket. Credentials are never here: see docs/store.md."""

    endpoint: str | None = values.setting(
        None,
        values.endpoint,
        "must be a URL http[s]://HOST[:PORT] without credentials",
        "where the store answers, if it is not the cloud's own; http only inside a cluster",
    )
    region: str | None = values.setting(
        None, values.text, "must be a name", "S3 region; else the environment's"
    )
    pathStyle: bool = values.setting(
        True,
        values.boolean,
        "must be true or false",
        "S3: the bucket in the path; false puts it in the host name",
    )
    sse: str | None = values.setting(
        None,
        *values.one_of("AES256", "aws:kms", "aws:kms:dsse"),
        "S3 server-side encryption asked for with every object; else the bucket's own default",
    )
    sseKMSKeyID: str | None = values.setting(
        None,
        values.text,
        "must be a KMS key id",
        "the key of `sse` aws:kms; else the account's default",
    )
    account: str | None = values.setting(
        None, values.text, "must be a name", "Azure storage account"
    )
    caFile: str | None = values.setting(
        None,
        *values.PATH,
        "PEM certificates to trust besides the public ones, for a private endpoint",
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Each field that does not go with the others."""
        if self.sseKMSKeyID is not None and self.sse not in ("aws:kms", "aws:kms:dsse"):
            rule = "needs bucket.sse aws:kms or aws:kms:dsse"
            yield errors.Cause("bucket.sseKMSKeyID", self.sseKMSKeyID, rule)

    def conflicts_with(self, scheme: str) -> Iterator[errors.Cause]:
        """Each field that means nothing to a store of this URL scheme."""
        for field, only in (
            ("region", "s3"),
            ("sse", "s3"),
            ("sseKMSKeyID", "s3"),
            ("account", "az"),
        ):
            value = getattr(self, field)
            if value is not None and scheme != only:
                yield errors.Cause(f"bucket.{field}", value, f"is only for {only}:// stores")


@dataclasses.dataclass(frozen=True)
class EtcdSettings:
    """How the server reaches etcd. The files are read again when they change."""

    caFile: str | None = values.setting(
        None, *values.PATH, "PEM certificates that sign the servers'; else the public ones"
    )
    certFile: str | None = values.setting(
        None, *values.PATH, "PEM client certificate chain; needs `keyFile`"
    )
    keyFile: str | None = values.setting(None, *values.PATH, "PEM private key of `certFile`")
    credentialsDir: str | None = values.setting(
        None,
        *values.PATH,
        "a mounted Secret of type kubernetes.io/basic-auth: the files username and password",
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Each field that does not go with the others."""
        if self.certFile is None and self.keyFile is not None:
            yield errors.Cause("etcd.certFile", None, "must be set together with keyFile")
        if self.keyFile is None and self.certFile is not None:
            yield errors.Cause("etcd.keyFile", None, "must be set together with certFile")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole configuration: one field a section, named as in YAML."""

    policy: PolicySettings = PolicySettings()
    agent: AgentSettings = AgentSettings()
    server: ServerSettings = ServerSettings()
    retention: RetentionSettings = RetentionSettings()
    crashLoop: CrashLoopSettings = CrashLoopSettings()
    upload: UploadSettings = UploadSettings()
    bucket: BucketSettings = BucketSettings()
    etcd: EtcdSettings = EtcdSettings()

    def conflicts(self) -> Iterator[errors.Cause]:
        """Every field that does not go with another, of its own section or of another one."""
        yield from self.etcd.conflicts()
        yield from self.bucket.conflicts()
        schemes = {url.partition("://")[0] for url in (self.agent.store, self.server.store)}
        for scheme in sorted(schemes & set(BUCKET_SCHEMES)):
            yield from self.bucket.conflicts_with(scheme)


SECTIONS: dict[str, type[Any]] = {
    "policy": PolicySettings,
    "agent": AgentSettings,
    "server": ServerSettings,
    "retention": RetentionSettings,
    "crashLoop": CrashLoopSettings,
    "upload": UploadSettings,
    "bucket": BucketSettings,
    "etcd": EtcdSettings,
}
