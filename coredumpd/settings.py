"""Immutable settings per role, and the one loader that reports every problem at once.

A setting exists here only when some code obeys it. Each field carries its parser and its rule in
its metadata, so the configuration file, `docs/operations.md` and the error text share one table.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from coredumpd import errors, units

_S = TypeVar("_S")
_BUCKET_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_PREFIX_CHARS = _BUCKET_CHARS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
Parser = Callable[[object], Any]


def setting(default: object, parse: Parser, rule: str, doc: str) -> Any:
    """A field: `default` as a user would write it, `parse` raises ValueError, `rule` says why."""
    metadata = {"parse": parse, "rule": rule, "doc": doc, "default": default}
    value = None if default is None else parse(default)
    return dataclasses.field(default=value, metadata=metadata)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _path(value: object) -> str:
    text = _text(value)
    if not text.startswith("/") or "/../" in text + "/" or not text.isprintable():
        raise ValueError
    return text.rstrip("/") or "/"


def _paths(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_path(item) for item in value)


def store_url(value: object) -> str:
    """A store's URL as it is written. Raises ValueError, in whose place STORE_RULE is said."""
    text = _text(value)
    parts = urllib.parse.urlsplit(text)
    if text.startswith("file:///"):
        return text
    names = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    good = all(set(name) <= _PREFIX_CHARS and name not in ("", ".", "..") for name in names)
    bucket = 3 <= len(parts.netloc) <= 63 and set(parts.netloc) <= _BUCKET_CHARS
    if parts.scheme not in ("s3", "gs", "az") or not bucket or not good or "?" in text:
        raise ValueError
    return text.rstrip("/")


def objects_url(value: object) -> str:
    """An engine's URL as it is written. Raises ValueError, in whose place OBJECTS_RULE is said."""
    text = _text(value)
    if text.startswith("sqlite:////"):
        return text
    scheme, _, rest = text.partition("://")
    hosts, _, prefix = rest.partition("/")
    names = prefix.rstrip("/").split("/")
    good = all(name.strip(".") and set(name) <= _PREFIX_CHARS for name in names)
    if scheme not in ("etcd", "etcd+http") or not good:
        raise ValueError
    for host in hosts.split(","):
        one = urllib.parse.urlsplit(f"//{host}")
        if not one.hostname or not one.port or set(host) & set("@?#\\") or not host.isprintable():
            raise ValueError
    return text.rstrip("/")


def target_url(value: object) -> str:
    """Where an agent ships to. Raises ValueError, in whose place TARGET_RULE is said."""
    text = _text(value)
    if not text.startswith("https:"):
        return store_url(text)
    parts = urllib.parse.urlsplit(text)
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not parts.hostname or extra or (parts.port is None and ":" in parts.netloc):
        raise ValueError
    return text.rstrip("/")


def _account(value: object) -> str:
    text = _text(value)
    words = text.split(":")
    if len(words) != 4 or words[:2] != ["system", "serviceaccount"] or not all(words):
        raise ValueError
    return text


def _endpoint(value: object) -> str:
    text = _text(value)
    parts = urllib.parse.urlsplit(text)
    extra = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or extra:
        raise ValueError
    return text.rstrip("/")


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _one_of(*words: str) -> tuple[Parser, str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return parse, "must be one of " + ", ".join(words)


def _integer(least: int, most: int) -> tuple[Parser, str]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return parse, f"must be a whole number from {least} to {most}"


_SIZE = (units.parse_quantity, units.QUANTITY_RULE)
_DURATION = (units.parse_duration, units.DURATION_RULE)
_PATH = (_path, "must be an absolute path without '..'")
STORE_RULE = (
    "must be a URL file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX"
    " or az://CONTAINER/PREFIX, without credentials"
)
_STORE = (store_url, STORE_RULE)
TARGET_RULE = f"{STORE_RULE}, or https://HOST:PORT of a coredumpd server"
OBJECTS_RULE = (
    "must be a URL sqlite:////PATH, or etcd://HOST:PORT,HOST:PORT/PREFIX without credentials"
    " (etcd+http:// without TLS)"
)


@dataclasses.dataclass(frozen=True)
class PolicySettings:
    """What the handler does with a crash. The agent writes it to `<hostDir>/policy.json`."""

    hostCrashes: str = setting(
        "ignore", *_one_of("ignore", "store"), "crashes of processes outside any pod"
    )
    capture: str = setting(
        "enabled",
        *_one_of("enabled", "disabled"),
        "of crashes in pods; the annotation coredump.fujitsu.com/capture of a namespace overrides"
        " it, that of a pod can only disable",
    )
    maxSize: int = setting(
        "8Gi",
        *_SIZE,
        "longer cores are truncated and marked; the annotation coredump.fujitsu.com/max-size of a"
        " namespace overrides it, that of a pod can only lower it",
    )
    captureTimeout: float = setting("5m", *_DURATION, "a handler gives up after this long")
    runtimeStateDirs: tuple[str, ...] = setting(
        [
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/run/containers/storage/overlay-containers",
            "/var/lib/docker/containers",
        ],
        _paths,
        "must be a list of absolute paths",
        "where container runtimes keep one directory per container id, on the host",
    )
    honourRlimit: bool = setting(
        False, _boolean, "must be true or false", "RLIMIT_CORE of the process limits its core"
    )
    spoolMaxUse: int = setting("16Gi", *_SIZE, "the spool takes no more; then cores are truncated")
    spoolKeepFree: int = setting("1Gi", *_SIZE, "left free on the spool's disk, as spoolMaxUse")
    spoolMaxEntries: int = setting(
        10_000,
        *_integer(1, 1_000_000),
        "dumps waiting on the node; of more crashes only its log tells",
    )
    niceness: int = setting(9, *_integer(0, 19), "of the handler while it captures")
    procDir: str = setting("/proc", *_PATH, "where the handler reads the crashed process")


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """`coredumpd agent`."""

    hostDir: str = setting(
        "/var/lib/coredumpd", *_PATH, "versions, spool and state, the same path on host and in pod"
    )
    store: str = setting(
        "file:///var/lib/coredump-store",
        target_url,
        TARGET_RULE,
        "where dumps are shipped to; https: a server that commits them to its own store",
    )
    capture: str = setting(
        "auto",
        *_one_of("auto", "pipe", "socket"),
        "how the kernel hands a core over: to a handler it runs, or (Linux 6.17) to a listener that"
        " waits; auto is pipe",
    )
    corePipeLimit: int = setting(
        16, *_integer(1, 4096), "captures at once; by pipe this is kernel.core_pipe_limit"
    )
    suidDumpable: int | None = setting(
        None,
        *_integer(0, 2),
        "fs.suid_dumpable; not set: left as it is. 2 also dumps programs that changed their rights",
    )
    parallelShips: int = setting(2, *_integer(1, 64), "dumps shipped at once")
    stuckAfter: float = setting(
        "10m",
        *_DURATION,
        "a dump that has failed to ship for so long, or a commit that has taken no byte, makes"
        " /healthz fail and is told by an Event on the Node",
    )
    port: int = setting(9090, *_integer(0, 65535), "port of /metrics and /healthz; 0: any free one")


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """`coredumpd server`."""

    store: str = setting("file:///var/lib/coredump-store", *_STORE, "where dumps are read from")
    objects: str = setting(
        "sqlite:////var/lib/coredumpd-objects/objects.db",
        objects_url,
        OBJECTS_RULE,
        "where CoredumpEndpoint objects live: SQLite for one replica, etcd for several",
    )
    uploadAccount: str | None = setting(
        None,
        _account,
        "must be system:serviceaccount:NAMESPACE:NAME",
        "the agents' service account, which may send dumps; not set: nobody may",
    )
    port: int = setting(8443, *_integer(0, 65535), "HTTPS port")
    tlsCertFile: str = setting("/etc/coredumpd/tls/tls.crt", *_PATH, "PEM certificate chain")
    tlsKeyFile: str = setting("/etc/coredumpd/tls/tls.key", *_PATH, "PEM private key")
    connectionsMax: int = setting(
        4096,
        *_integer(16, 1_000_000),
        "when full, a newcomer takes the place of whoever has been silent for longest",
    )
    sendTimeout: float = setting(
        "60s", *_DURATION, "a client that takes none of the bytes sent for so long is cut off"
    )
    shutdownDelay: float = setting(
        "5s", *_DURATION, "on SIGTERM: not ready, but still accepting, for so long"
    )
    shutdownGrace: float = setting(
        "60s", *_DURATION, "then downloads in progress have so long to finish"
    )


@dataclasses.dataclass(frozen=True)
class CrashLoopSettings:
    """Of one container's same program and signal: whose cores are kept. Agent and server."""

    first: int = setting(2, *_integer(0, 1000), "so many crashes of a loop keep their core, and")
    last: int = setting(
        3, *_integer(0, 1000), "so many of the latest; one record counts those between"
    )
    window: float = setting(
        "1h",
        *_DURATION,
        "crashes within so long of a loop's first belong to it; 0: every crash keeps its core",
    )


@dataclasses.dataclass(frozen=True)
class UploadSettings:
    """How an agent reaches a server that is its store (`agent.store: https://HOST:PORT`)."""

    caFile: str = setting(
        "/etc/coredumpd/tls/ca.crt", *_PATH, "who signed the server's certificate"
    )
    tokenFile: str = setting(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        *_PATH,
        "the service account's token, read anew for each dump",
    )


@dataclasses.dataclass(frozen=True)
class RetentionSettings:
    """What the leading server removes from the store."""

    gcThreshold: float = setting(
        "24h",
        *_DURATION,
        "dumps of a deleted pod are kept for so long; the namespace's annotation"
        " coredump.fujitsu.com/retention overrides it",
    )
    quota: int = setting(
        "10Gi",
        *_SIZE,
        "bytes of core.gz one namespace may keep; its annotation coredump.fujitsu.com/quota"
        " overrides it",
    )
    onQuota: str = setting(
        "evict",
        *_one_of("evict", "reject"),
        "over quota. evict: the oldest dump of the pod with the most dumps goes, until it is not;"
        " reject: no new core is kept, only its record, until there is room",
    )
    interval: float = setting("1m", *_DURATION, "between two passes over the store")


@dataclasses.dataclass(frozen=True)
class BucketSettings:
    """How agent and server reach a bucket. Credentials are never here: see docs/store.md."""

    endpoint: str | None = setting(
        None,
        _endpoint,
        "must be a URL http[s]://HOST[:PORT] without credentials",
        "where the store answers, if it is not the cloud's own; http only inside a cluster",
    )
    region: str | None = setting(None, _text, "must be a name", "S3 region; else the environment's")
    pathStyle: bool = setting(
        True,
        _boolean,
        "must be true or false",
        "S3: the bucket in the path; false puts it in the host name",
    )
    sse: str | None = setting(
        None,
        *_one_of("AES256", "aws:kms", "aws:kms:dsse"),
        "S3 server-side encryption asked for with every object; else the bucket's own default",
    )
    sseKMSKeyID: str | None = setting(
        None, _text, "must be a KMS key id", "the key of `sse` aws:kms; else the account's default"
    )
    account: str | None = setting(None, _text, "must be a name", "Azure storage account")
    caFile: str | None = setting(
        None, *_PATH, "PEM certificates to trust besides the public ones, for a private endpoint"
    )


@dataclasses.dataclass(frozen=True)
class EtcdSettings:
    """How the server reaches etcd. The files are read again when they change."""

    caFile: str | None = setting(
        None, *_PATH, "PEM certificates that sign the servers'; else the public ones"
    )
    certFile: str | None = setting(None, *_PATH, "PEM client certificate chain; needs `keyFile`")
    keyFile: str | None = setting(None, *_PATH, "PEM private key of `certFile`")
    credentialsDir: str | None = setting(
        None,
        *_PATH,
        "a mounted Secret of type kubernetes.io/basic-auth: the files username and password",
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """(field, rule) of each field that does not go with the others."""
        if self.certFile is None and self.keyFile is not None:
            yield "certFile", "must be set together with keyFile"
        if self.keyFile is None and self.certFile is not None:
            yield "keyFile", "must be set together with certFile"


SECTIONS = {
    "policy": PolicySettings,
    "agent": AgentSettings,
    "server": ServerSettings,
    "retention": RetentionSettings,
    "crashLoop": CrashLoopSettings,
    "upload": UploadSettings,
    "bucket": BucketSettings,
    "etcd": EtcdSettings,
}


def check(document: object) -> dict[str, Any]:
    """All sections of a configuration. Raises SettingsError naming every wrong field at once."""
    if not isinstance(document, Mapping):
        raise errors.SettingsError("the configuration must be a mapping of sections")
    causes = list(_unknown("", document, SECTIONS))
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        section = document.get(name)
        try:
            sections[name] = build(kind, {} if section is None else section, name)
        except errors.SettingsError as error:
            causes.extend(error.causes)
    if causes:
        raise errors.SettingsError("the configuration is wrong:", tuple(causes))
    return sections


def build(kind: type[_S], values: object, section: str) -> _S:
    """One section as its dataclass. Raises SettingsError naming every wrong field at once."""
    if not isinstance(values, Mapping):
        cause = errors.Cause(section, values, "must be a mapping")
        raise errors.SettingsError("the configuration is wrong:", (cause,))
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    causes = list(_unknown(section + ".", values, fields))
    parsed = {}
    for name, field in fields.items():
        if name in values:
            try:
                parsed[name] = field.metadata["parse"](values[name])
            except (ValueError, ArithmeticError):
                rule = field.metadata["rule"]
                causes.append(errors.Cause(f"{section}.{name}", values[name], rule))
    made = kind(**parsed)
    if not causes:
        conflicts: Iterable[tuple[str, str]] = getattr(made, "conflicts", tuple)()
        causes += [errors.Cause(f"{section}.{name}", None, rule) for name, rule in conflicts]
    if causes:
        raise errors.SettingsError("the configuration is wrong:", tuple(causes))
    return made


def _unknown(
    prefix: str, values: Mapping[Any, Any], known: Mapping[str, Any]
) -> Iterator[errors.Cause]:
    for name in values:
        if name not in known:
            rule = "is not a setting; known here: " + ", ".join(sorted(known))
            yield errors.Cause(f"{prefix}{name}", values[name], rule)
