"""The record of a crash: `meta.json`, version 1.

Vocabulary of every role: the handler writes a record, the agent completes it, the server shows it.
`docs/formats.md` lists the fields. Missing is null, never invented; fields this version does not
know survive a read-modify-write.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import layout, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
RECORD_BYTES_MAX = 256 * 1024
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

    @property
    def time(self) -> str:
        """When it crashed, RFC 3339."""
        return str(self.raw["time"])

    @property
    def time_s(self) -> int:
        """When it crashed, seconds since the epoch; 0 where `time` is no RFC 3339 time."""
        from coredumpd import units  # not for the crash path

        try:
            return int(units.parse_timestamp(self.raw["time"]))
        except ValueError:
            return 0

    @property
    def namespace(self) -> str | None:
        """The pod's namespace; HOST_NAMESPACE for a process in no pod; None: not known yet."""
        namespace: str | None = self.raw["namespace"]
        return namespace

    @property
    def namespace_uid(self) -> str | None:
        """The namespace's uid, which tells its lives apart; None where the API was not asked."""
        uid = self.raw.get("namespaceUID")
        return uid if isinstance(uid, str) else None

    @property
    def pod_name(self) -> str | None:
        """The pod's name."""
        name: str | None = self.raw["podName"]
        return name

    @property
    def pod_uid(self) -> str | None:
        """The pod's uid, as the node knows it until the agent has asked the API."""
        uid: str | None = self.raw["podUID"]
        return uid

    @property
    def container(self) -> str | None:
        """The container's name."""
        name: str | None = self.raw["container"]
        return name

    @property
    def container_id(self) -> str | None:
        """The runtime's id of the container, 64 hexadecimal digits."""
        id: str | None = self.raw["containerID"]
        return id

    @property
    def node(self) -> str | None:
        """The node's name."""
        node: str | None = self.raw["node"]
        return node

    @property
    def exe(self) -> str | None:
        """The path of the crashed executable; None where /proc did not tell."""
        exe: str | None = self.raw["process"].get("exe")
        return exe

    @property
    def comm(self) -> str | None:
        """The kernel's short name of the crashed process."""
        comm: str | None = self.raw["process"]["comm"]
        return comm

    @property
    def program(self) -> str:
        """What crashed: its executable's path, else its short name, else ""."""
        return self.exe or self.comm or ""

    @property
    def signal_number(self) -> int:
        """The signal that ended the process, as signal(7) numbers it."""
        return int(self.raw["signal"]["number"])

    @property
    def signal(self) -> str:
        """The signal's name, "SIGSEGV"; its number where it has no name."""
        return str(self.raw["signal"]["name"] or self.signal_number)

    @property
    def size(self) -> int:
        """Bytes of core, uncompressed and in the clear."""
        return int(self.raw["core"]["size"])

    @property
    def stored_size(self) -> int:
        """Bytes of core.gz."""
        return int(self.raw["core"]["storedSize"])

    @property
    def stored_crc32(self) -> str | None:
        """CRC-32 of core.gz, eight hexadecimal digits; None until a store has written it."""
        crc32: str | None = self.raw["core"].get("storedCrc32")
        return crc32

    @property
    def truncated(self) -> bool:
        """Does the core end before the process's memory did?"""
        return bool(self.raw["core"]["truncated"].get("is"))

    @property
    def attribution(self) -> str:
        """Who named the pod: `api`, `runtime`, or nobody yet: `cgroup-only`."""
        return str(self.raw["capture"]["attribution"])

    def with_(self, **fields: Any) -> CrashRecord:
        """A copy in which these top-level fields are replaced."""
        return CrashRecord({**self.raw, **fields})

    def with_core(self, **fields: Any) -> CrashRecord:
        """A copy in which these fields of `core` are replaced."""
        return self.with_(core={**self.raw["core"], **fields})

    def key(self) -> layout.DumpKey:
        """Where this dump belongs in a store. Raises Invalid while it is not attributed."""
        if self.raw["namespace"] == names.HOST_NAMESPACE:
            comm = names.slug(self.raw["process"]["comm"] or "", names.ID_BYTES_MAX)
            return layout.DumpKey(
                names.HOST_NAMESPACE, self.raw["node"] or "unknown", comm, self.id
            )
        namespace, pod_uid, container = (
            self.raw[part] or "" for part in ("namespace", "podUID", "container")
        )
        return layout.DumpKey(namespace, pod_uid, container, self.id)


def same_core(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Do two records' `core` describe the same core? Sealing it anew changes other fields only."""
    return (one["size"], one["crc32"]) == (other["size"], other["crc32"])


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
