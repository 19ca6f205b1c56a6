"""The record of a crash (`meta.json`, version 1), and the names a dump goes by.

Vocabulary of every role: the handler writes a record, the agent completes it, the server shows it.
`docs/formats.md` lists the fields. Missing is null, never invented; fields this version does not
know survive a read-modify-write.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
RECORD_BYTES_MAX = 256 * 1024
HOST_NAMESPACE = "_host"  # no Kubernetes namespace can have this name
_ID_BYTES_MAX = 63
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_UID_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ") | _NAME_CHARS
_TEXT, _NUMBER, _DICT = (str,), (int, float), (dict,)

# Every known field: dotted path, accepted types, may it be null.
_FIELDS: tuple[tuple[str, tuple[type, ...], bool], ...] = (
    ("version", (int,), False),
    ("id", _TEXT, False),
    ("time", _TEXT, False),
    ("node", _TEXT, True),
    ("kernel", _TEXT, True),
    ("boot", _DICT, True),
    ("namespace", _TEXT, True),
    ("podName", _TEXT, True),
    ("podUID", _TEXT, True),
    ("container", _TEXT, True),
    ("containerID", _TEXT, True),
    ("image", _TEXT, True),
    ("process", _DICT, False),
    ("process.pid", (int,), False),
    ("process.comm", _TEXT, True),
    ("process.exe", _TEXT, True),
    ("signal", _DICT, False),
    ("signal.number", (int,), False),
    ("signal.name", _TEXT, True),
    ("core", _DICT, False),
    ("core.size", (int,), False),
    ("core.storedSize", (int,), False),
    ("core.crc32", _TEXT, False),
    ("core.truncated", _DICT, False),
    ("capture", _DICT, False),
    ("capture.attribution", _TEXT, False),
)
# Those of `core.sealed`, which a plain core does not have.
_SEALED: tuple[tuple[str, tuple[type, ...], bool], ...] = (
    ("core.sealed", _DICT, False),
    ("core.sealed.size", (int,), False),
    ("core.sealed.crc32", _TEXT, False),
)


def is_dns_label(text: str) -> bool:
    """RFC 1123 label: what Kubernetes accepts as a namespace or container name."""
    return 0 < len(text) <= 63 and set(text) <= _NAME_CHARS and "-" not in (text[0], text[-1])


def is_dns_subdomain(text: str) -> bool:
    """RFC 1123 subdomain: what Kubernetes accepts as a pod or node name."""
    return 0 < len(text) <= 253 and all(
        label and set(label) <= _NAME_CHARS and "-" not in (label[0], label[-1])
        for label in text.split(".")
    )


def is_uid(text: str) -> bool:
    """A pod uid as the API takes it: `[A-Za-z0-9-]{1,128}`."""
    return 0 < len(text) <= 128 and set(text) <= _UID_CHARS


def slug(raw: str, length_max: int) -> str:
    """`raw` as a DNS subdomain of at most `length_max` bytes; "unknown" when nothing is left."""
    chars = "".join(char if char in _NAME_CHARS or char == "." else "-" for char in raw.lower())
    labels = (label.strip("-") for label in chars[:length_max].split("."))
    return ".".join(label for label in labels if label) or "unknown"


def make_id(exe: str, time_s: int, pid: int, nonce: int) -> str:
    """`<exe>-<YYYYMMDD>t<HHMMSS>z-<pid>-<4 hex>`: a valid object name, at most 63 bytes."""
    import time  # built in; kept from module level for the crash path's sake

    when = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(min(time_s, 253402300799)))
    tail = f"-{when}-{pid}-{nonce & 0xFFFF:04x}"
    return slug(exe, _ID_BYTES_MAX - len(tail)) + tail


def id_time(id: str) -> int:
    """Seconds since the epoch that `make_id` put into `id`; 0 for an id it did not make."""
    import calendar  # not for the crash path
    import time

    parts = id.rsplit("-", 3)
    try:
        return calendar.timegm(time.strptime(parts[1], "%Y%m%dt%H%M%Sz"))
    except (IndexError, ValueError):
        return 0


def pid_of(id: str) -> int | None:
    """The process that `make_id` put into `id`, any suffix behind it; None for other names."""
    parts = id.rsplit("-", 3)
    plain = len(parts) == 4 and parts[2].isascii() and parts[2].isdecimal()
    return int(parts[2]) if plain and len(parts[2]) <= len(str(2**22)) else None


class DumpKey:
    """Where a dump lives, below any store's root: `<namespace>/<podUID>/<container>/<id>`.

    Host crashes: `_host/<node>/<comm>/<id>`. Construction validates: a key in hand is safe to join
    to a path. Raises Invalid naming the part that is not.
    """

    __slots__ = ("container", "id", "namespace", "pod_uid")

    def __init__(self, namespace: str, pod_uid: str, container: str, id: str) -> None:
        host = namespace == HOST_NAMESPACE
        checks = (
            ("namespace", namespace, host or is_dns_label(namespace)),
            ("podUID", pod_uid, is_dns_subdomain(pod_uid) if host else is_uid(pod_uid)),
            ("container", container, (is_dns_subdomain if host else is_dns_label)(container)),
            ("id", id, is_dns_subdomain(id) and len(id) <= _ID_BYTES_MAX),
        )
        causes = tuple(
            errors.Cause(field, value, "is not a valid Kubernetes name or uid")
            for field, value, good in checks
            if not good
        )
        if causes:
            raise errors.Invalid(f"not a dump's key: {'; '.join(map(str, causes))}", causes)
        self.namespace = namespace
        self.pod_uid = pod_uid
        self.container = container
        self.id = id

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod_uid}/{self.container}/{self.id}"

    def __repr__(self) -> str:
        return f"DumpKey({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DumpKey) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class CrashRecord:
    """One `meta.json`. `raw` is the whole document, unknown fields included."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    @classmethod
    def parse(cls, data: bytes) -> CrashRecord:
        """The record in `data`. Raises BadRecord naming every field that breaks its rule."""
        import json  # costs `re`; the crash path reads its first byte before it needs this

        if len(data) > RECORD_BYTES_MAX:
            raise errors.BadRecord(f"meta.json: {len(data)} bytes; at most {RECORD_BYTES_MAX}")
        try:
            raw = json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise errors.BadRecord(f"meta.json: not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise errors.BadRecord("meta.json: must be an object")
        causes = tuple(_problems(raw))
        if causes:
            raise errors.BadRecord(f"meta.json: {'; '.join(map(str, causes))}", causes)
        _complete(raw)
        return cls(raw)

    def encode(self) -> bytes:
        """The document as it is stored: two-space JSON, keys in the order they were set."""
        import json

        return json.dumps(self.raw, indent=2, ensure_ascii=True).encode() + b"\n"

    @property
    def id(self) -> str:
        id: str = self.raw["id"]
        return id

    @property
    def sealed(self) -> dict[str, Any] | None:
        """`core.sealed`: what the age file that core.gz holds is; None for a plain core."""
        sealed: dict[str, Any] | None = self.raw["core"].get("sealed")
        return sealed

    @property
    def content(self) -> tuple[int, str]:
        """Size and CRC-32 of what core.gz decompresses to: a core, or a sealed core's age file."""
        core = self.sealed or self.raw["core"]
        return core["size"], core["crc32"]

    def key(self) -> DumpKey:
        """Where this dump belongs in a store. Raises Invalid while it is not attributed."""
        if self.raw["namespace"] == HOST_NAMESPACE:
            comm = slug(self.raw["process"]["comm"] or "", _ID_BYTES_MAX)
            return DumpKey(HOST_NAMESPACE, self.raw["node"] or "unknown", comm, self.id)
        namespace, pod_uid, container = (
            self.raw[part] or "" for part in ("namespace", "podUID", "container")
        )
        return DumpKey(namespace, pod_uid, container, self.id)


def _complete(raw: dict[str, Any]) -> None:
    """What may be null and is not there is null: readers index without asking."""
    for path, _, nullable in _FIELDS:
        if nullable:
            parent, _, name = path.rpartition(".")
            (raw[parent] if parent else raw).setdefault(name, None)


def _problems(raw: dict[str, Any]) -> list[errors.Cause]:
    causes = []
    core = raw.get("core")
    sealed = isinstance(core, dict) and core.get("sealed") is not None
    for path, types, nullable in _FIELDS + (_SEALED if sealed else ()):
        value: Any = raw
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            if not nullable:
                causes.append(errors.Cause(path, None, "is required"))
        elif not isinstance(value, types) or isinstance(value, bool):
            expected = " or ".join(kind.__name__ for kind in types)
            causes.append(errors.Cause(path, value, f"must be {expected}"))
        elif path == "version" and value != VERSION:
            causes.append(errors.Cause(path, value, f"must be {VERSION}"))
    return causes
