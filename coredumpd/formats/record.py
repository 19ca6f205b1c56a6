"""The record of a crash: `meta.json`, version 1, or 2 where the core has an index.

The handler writes a record, the agent completes it, a store adds a checksum, the server shows it.
A value that is not known is null, never invented. Fields that this version does not know survive
being read and written.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import layout, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from coredumpd.formats import core_index

VERSION = 1
INDEXED_VERSION = 2  # a reader of version 1 would take core.gz for the whole core
RECORD_BYTES_MAX = 256 * 1024

# A field's type. A time is RFC 3339 text, UTC.
TEXT, TIME, INTEGER, BOOLEAN = "text", "time", "integer", "boolean"
OBJECT, LABELS, TEXTS = "object", "object of texts", "list of texts"
# May a field be missing? REQUIRED: no. NULLABLE: null means "not known", and so does its absence.
# IF_SEALED: required of a sealed core, absent from a plain one. IF_INDEXED: the same of a core with
# an index. OPTIONAL: it may be absent, and is not checked: nothing breaks on a wrong one.
REQUIRED, NULLABLE, OPTIONAL = "required", "or null", "optional"
IF_SEALED, IF_INDEXED = "if sealed", "if indexed"
_CONDITIONS = {IF_SEALED: "sealed", IF_INDEXED: "index"}  # there if `core` has this field
# Who writes a field first.
HANDLER, AGENT, STORE, SERVER = "handler", "agent", "store", "server"

# Every known field: dotted path, type, may it be missing, who writes it, and its meaning. This one
# table feeds validation, the handler's first record, the API's schema, and docs/formats.md.
FIELDS = (
    ("version", INTEGER, REQUIRED, HANDLER, "2 if the core has a core.index, or had one; else 1"),
    ("id", TEXT, REQUIRED, HANDLER, "the dump's id"),
    ("time", TIME, REQUIRED, HANDLER, "when the kernel began the dump; milliseconds"),
    ("node", TEXT, NULLABLE, HANDLER, "the node's name"),
    ("kernel", TEXT, NULLABLE, HANDLER, "the kernel's release"),
    ("boot", OBJECT, NULLABLE, HANDLER, "the boot of the node in which it crashed"),
    ("boot.id", TEXT, OPTIONAL, HANDLER, "that boot's id"),
    ("namespace", TEXT, NULLABLE, HANDLER, "the pod's namespace; `_host` for a process in no pod"),
    (
        "namespaceUID",
        TEXT,
        NULLABLE,
        HANDLER,
        "the uid of the namespace in which it crashed; a namespace made later under the same name"
        " does not see the dump; null while that is not proven",
    ),
    ("podName", TEXT, NULLABLE, HANDLER, "the pod's name"),
    ("podUID", TEXT, NULLABLE, HANDLER, "the pod's uid"),
    (
        "container",
        TEXT,
        NULLABLE,
        HANDLER,
        "the container's name; `POD`: the pod's sandbox, and none of its containers",
    ),
    ("containerID", TEXT, NULLABLE, HANDLER, "the container's id, as its runtime names it"),
    (
        "containerKind",
        TEXT,
        OPTIONAL,
        AGENT,
        "`init` or `ephemeral`, if the container is one of those",
    ),
    ("image", TEXT, NULLABLE, HANDLER, "the container's image"),
    ("podLabels", LABELS, OPTIONAL, AGENT, "the pod's labels"),
    (
        "podLabelsCut",
        INTEGER,
        OPTIONAL,
        AGENT,
        "how many more labels the pod has: too many, or too long, for a record",
    ),
    ("owner", OBJECT, OPTIONAL, AGENT, "the object that controls the pod"),
    ("owner.kind", TEXT, OPTIONAL, AGENT, "its kind"),
    ("owner.name", TEXT, OPTIONAL, AGENT, "its name"),
    ("keep", BOOLEAN, OPTIONAL, AGENT, "true: its pod asked that no quota removes it"),
    ("restartCount", INTEGER, OPTIONAL, AGENT, "how often the container had been restarted"),
    ("process", OBJECT, REQUIRED, HANDLER, "the process that crashed"),
    ("process.pid", INTEGER, REQUIRED, HANDLER, "process id, in the node's PID namespace"),
    ("process.nsPid", INTEGER, OPTIONAL, HANDLER, "process id, in its own PID namespace"),
    ("process.tid", INTEGER, OPTIONAL, HANDLER, "the thread that crashed, in the node's"),
    ("process.nsTid", INTEGER, OPTIONAL, HANDLER, "the thread that crashed, in its own"),
    ("process.uid", INTEGER, OPTIONAL, HANDLER, "real user id"),
    ("process.gid", INTEGER, OPTIONAL, HANDLER, "real group id"),
    ("process.comm", TEXT, NULLABLE, HANDLER, "the kernel's short name of the process"),
    ("process.exe", TEXT, NULLABLE, HANDLER, "the executable's path"),
    (
        "process.exeDeleted",
        BOOLEAN,
        OPTIONAL,
        HANDLER,
        "true: no file had that path any more: removed, replaced by another, or only in memory"
        " (memfd)",
    ),
    ("process.cwd", TEXT, OPTIONAL, HANDLER, "the working directory"),
    ("process.startTime", TIME, OPTIONAL, HANDLER, "when it was started"),
    (
        "process.threads",
        INTEGER,
        OPTIONAL,
        HANDLER,
        "its threads, a main thread that had ended included",
    ),
    ("process.rlimitCore", INTEGER, OPTIONAL, HANDLER, "its soft RLIMIT_CORE, bytes"),
    ("process.dumpMode", INTEGER, OPTIONAL, HANDLER, "0 not dumpable, 1 owner, 2 suidsafe"),
    ("process.cgroup", TEXT, OPTIONAL, HANDLER, "its cgroup's path"),
    ("signal", OBJECT, REQUIRED, HANDLER, "the signal that ended it"),
    ("signal.number", INTEGER, REQUIRED, HANDLER, "the signal's number"),
    ("signal.name", TEXT, NULLABLE, HANDLER, "the signal's name, such as SIGSEGV"),
    ("signal.code", INTEGER, OPTIONAL, HANDLER, "its si_code (sigaction(2)), from the core"),
    ("signal.codeName", TEXT, OPTIONAL, HANDLER, "that code's name, such as SEGV_MAPERR"),
    (
        "signal.address",
        TEXT,
        OPTIONAL,
        HANDLER,
        "the address of a fault, hexadecimal: what could not be read, written or executed",
    ),
    (
        "signal.pc",
        TEXT,
        OPTIONAL,
        HANDLER,
        "the program counter of the thread that crashed, hexadecimal; x86 and ARM only",
    ),
    ("core", OBJECT, REQUIRED, HANDLER, "the core, and the core.gz that holds it"),
    ("core.size", INTEGER, REQUIRED, HANDLER, "bytes of the core, holes included"),
    ("core.dataSize", INTEGER, OPTIONAL, HANDLER, "bytes of the core but for its holes"),
    ("core.holes", INTEGER, OPTIONAL, HANDLER, "how many holes the core has"),
    ("core.storedSize", INTEGER, REQUIRED, HANDLER, "bytes of core.gz"),
    ("core.crc32", TEXT, REQUIRED, HANDLER, "CRC-32 of the core, holes included, 8 hex digits"),
    ("core.storedCrc32", TEXT, OPTIONAL, STORE, "CRC-32 of core.gz, 8 hex digits"),
    ("core.sparseBytes", INTEGER, OPTIONAL, HANDLER, "zeros of the core, in holes or chunks"),
    ("core.truncated", OBJECT, REQUIRED, HANDLER, "whether the core was cut short"),
    ("core.truncated.is", BOOLEAN, OPTIONAL, HANDLER, "true if it was"),
    ("core.truncated.reason", TEXT, OPTIONAL, HANDLER, "the limit or the event that cut it"),
    ("core.truncated.limit", INTEGER, OPTIONAL, HANDLER, "the number of bytes at which it was cut"),
    (
        "core.malformed",
        TEXT,
        OPTIONAL,
        HANDLER,
        "the rule that its ELF headers break; then it is kept as it came, whole or not",
    ),
    ("core.members", INTEGER, OPTIONAL, HANDLER, "gzip members, as captured"),
    (
        "core.index",
        OBJECT,
        IF_INDEXED,
        HANDLER,
        "the file core.index; without it, core.gz holds the core from its first byte to its last",
    ),
    ("core.index.size", INTEGER, IF_INDEXED, HANDLER, "bytes of core.index"),
    ("core.index.crc32", TEXT, IF_INDEXED, HANDLER, "the CRC-32 in its trailer, 8 hex digits"),
    (
        "core.sealed",
        OBJECT,
        IF_SEALED,
        AGENT,
        "the age file that core.gz holds instead of the core",
    ),
    ("core.sealed.size", INTEGER, IF_SEALED, AGENT, "bytes of the age file"),
    ("core.sealed.crc32", TEXT, IF_SEALED, AGENT, "CRC-32 of the age file, 8 hex digits"),
    ("core.sealed.members", INTEGER, OPTIONAL, AGENT, "gzip members of core.gz now"),
    (
        "core.sealed.tar",
        BOOLEAN,
        OPTIONAL,
        AGENT,
        "true: the age file holds a .tar.gz with the core as a sparse file, not a core.gz",
    ),
    ("core.sealed.to", TEXTS, OPTIONAL, AGENT, "age recipients; fingerprints of ssh keys"),
    (
        "crashLoop",
        OBJECT,
        OPTIONAL,
        AGENT,
        "only in a record that counts crashes of a loop; its core is empty",
    ),
    ("crashLoop.count", INTEGER, OPTIONAL, AGENT, "how many crashes it counts"),
    ("crashLoop.firstTime", TIME, OPTIONAL, AGENT, "when the first of them was"),
    ("crashLoop.lastTime", TIME, OPTIONAL, AGENT, "when the last of them was"),
    ("crashLoop.folded", TEXTS, OPTIONAL, AGENT, "ids of the dumps that it replaced"),
    ("capture", OBJECT, REQUIRED, HANDLER, "how the crash was captured"),
    ("capture.mode", TEXT, OPTIONAL, HANDLER, "`pipe` or `socket`: how the kernel sent the core"),
    (
        "capture.source",
        TEXT,
        OPTIONAL,
        HANDLER,
        "`memory`, `pipe` or `socket`: where the core's memory was read from",
    ),
    ("capture.sourceReason", TEXT, OPTIONAL, HANDLER, "why it was not `memory`; null if it was"),
    ("capture.startedAt", TIME, OPTIONAL, HANDLER, "when the handler began"),
    ("capture.durationMs", INTEGER, OPTIONAL, HANDLER, "how long the handler took, milliseconds"),
    ("capture.handlerVersion", TEXT, OPTIONAL, HANDLER, "the handler's version"),
    (
        "capture.attribution",
        TEXT,
        REQUIRED,
        HANDLER,
        "who named the pod: `runtime` (the runtime's state file), `api` (confirmed by Kubernetes),"
        " only the node that sent it (`node`: Kubernetes had no such pod any more), or nobody yet:"
        " `cgroup-only`",
    ),
)
# Fields of `core` that a record loses with its core: another core, or an empty one, has its own.
OF_ONE_CORE = ("storedCrc32", "sealed", "index", "dataSize", "holes")
UNPROVEN = "node"  # as `capture.attribution`, written by a server
_PYTHON_TYPES = {TEXT: str, TIME: str, INTEGER: int, OBJECT: dict}


class CrashRecord:
    """One `meta.json`. `raw` is the whole document, unknown fields included."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    @classmethod
    def parse(cls, data: bytes) -> CrashRecord:
        """The record in `data`. Raises BadRecord naming every field that breaks its rule."""
        import json  # costs `re`; the crash path reads its first byte before it needs this

        _check_size(data)
        try:
            raw = json.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise errors.BadRecord(f"meta.json: not JSON: {error}") from error
        _check(data, raw)
        _complete(raw)
        return cls(raw)

    def encode(self) -> bytes:
        """The document as it is stored: two-space JSON, keys in the order they were set.

        Raises BadRecord for one that `parse` would refuse: nobody could read it back.
        """
        import json

        try:
            text = json.dumps(self.raw, indent=2, ensure_ascii=True, allow_nan=False)
        except (ValueError, TypeError, RecursionError) as error:
            raise errors.BadRecord(f"meta.json: not JSON: {error}") from error
        data = text.encode() + b"\n"
        _check(data, self.raw)
        return data

    @property
    def id(self) -> str:
        """The dump's id."""
        id: str = self.raw["id"]
        return id

    @property
    def sealed(self) -> dict[str, Any] | None:
        """`core.sealed`: facts about the age file in core.gz; None for a plain core."""
        sealed: dict[str, Any] | None = self.raw["core"].get("sealed")
        return sealed

    @property
    def core_name(self) -> str:
        """The name of the core in an archive and where it is unpacked."""
        if self.sealed is None:
            return layout.PLAIN_CORE
        return layout.SEALED_TAR if self.sealed.get("tar") is True else layout.SEALED_CORE

    @property
    def index(self) -> dict[str, Any] | None:
        """`core.index`: size and CRC-32 of the file core.index; None for a core without one."""
        index: dict[str, Any] | None = self.raw["core"].get("index")
        return index

    @property
    def dump_size(self) -> int:
        """Bytes of core.gz and core.index: what a quota counts."""
        return self.stored_size + (self.index["size"] if self.index else 0)

    @property
    def content(self) -> tuple[int, str]:
        """Size and CRC-32 of the core; of a sealed core, of the age file in core.gz."""
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
    def duration_s(self) -> float | None:
        """How long the handler took, in seconds; None where it could not say."""
        duration_ms = self.raw["capture"].get("durationMs")
        return duration_ms / 1000 if isinstance(duration_ms, int) else None

    @property
    def namespace(self) -> str | None:
        """The pod's namespace; HOST_NAMESPACE for a process in no pod; None: not known yet."""
        namespace: str | None = self.raw["namespace"]
        return namespace

    @property
    def namespace_uid(self) -> str | None:
        """The namespace's uid, which tells its lives apart; None where it is not proven."""
        uid: str | None = self.raw.get("namespaceUID")
        return uid

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
    def container_kind(self) -> str | None:
        """`init` or `ephemeral`; None for any other container."""
        kind: str | None = self.raw.get("containerKind")
        return kind

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
    def pid(self) -> int:
        """The process's id, in the node's PID namespace."""
        return int(self.raw["process"]["pid"])

    @property
    def comm(self) -> str | None:
        """The kernel's short name of the crashed process."""
        comm: str | None = self.raw["process"]["comm"]
        return comm

    @property
    def program(self) -> str:
        """The path of the crashed executable, else its short name, else ""."""
        return self.exe or self.comm or ""

    @property
    def program_name(self) -> str:
        """The program's short name: the last part of its path, else the kernel's; or ""."""
        return names.program(self.exe, self.comm or "")

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
    def is_pinned(self) -> bool:
        """May no quota remove the dump? Its pod was annotated so when the dump was shipped."""
        return self.raw.get("keep") is True

    @property
    def attribution(self) -> str:
        """The source of the pod's name: `api`, `runtime`, or none yet: `cgroup-only`."""
        return str(self.raw["capture"]["attribution"])

    def with_(self, **fields: Any) -> CrashRecord:
        """A copy in which these top-level fields are replaced."""
        return CrashRecord({**self.raw, **fields})

    def with_signal(self, **fields: Any) -> CrashRecord:
        """A copy in which these fields of `signal` are replaced."""
        return self.with_(signal={**self.raw["signal"], **fields})

    def with_core(self, **fields: Any) -> CrashRecord:
        """A copy in which these fields of `core` are replaced."""
        return self.with_(core={**self.raw["core"], **fields})

    def with_capture(self, **fields: Any) -> CrashRecord:
        """A copy in which these fields of `capture` are replaced."""
        return self.with_(capture={**self.raw["capture"], **fields})

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


def pinned(record: CrashRecord, is_pinned: bool) -> CrashRecord:
    """`record`, pinned against quotas or not."""
    raw = {name: value for name, value in record.raw.items() if name != "keep"}
    return CrashRecord(raw | ({"keep": True} if is_pinned else {}))


def with_index(
    record: CrashRecord, index: core_index.Index, crc32: int, truncated: dict[str, Any]
) -> CrashRecord:
    """`record` of the core that `index` describes; `crc32` is that of the core with its holes."""
    data_size = index.data_size
    core = {
        "size": index.core_size,
        "dataSize": data_size,
        "holes": index.holes,
        "sparseBytes": index.core_size - data_size,
        "storedSize": index.stored_size,
        "crc32": f"{crc32:08x}",
        "truncated": truncated,
        "members": len(index),
        "index": {"size": len(index.data), "crc32": f"{index.crc32:08x}"},
    }
    return record.with_core(**core).with_(version=INDEXED_VERSION)


def same_core(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Do two records' `core` describe the same core? Sealing it anew changes other fields only."""
    return (one["size"], one["crc32"]) == (other["size"], other["crc32"])


def compose(values: dict[str, Any]) -> CrashRecord:
    """A handler's record, from values by dotted path; fields that are not given are null.

    Raises ValueError for a path that no handler writes.
    """
    values = dict(values)
    raw: dict[str, Any] = {}
    for path, kind, presence, writer, _ in FIELDS:
        if writer == HANDLER and presence != IF_INDEXED:
            *parents, name = path.split(".")
            place = raw
            for parent in parents:
                place = place[parent]
            place[name] = {} if kind == OBJECT else values.pop(path, None)
    if values:
        raise ValueError(f"a handler writes no {', '.join(values)}")
    return CrashRecord(raw)


def _check_size(data: bytes) -> None:
    if len(data) > RECORD_BYTES_MAX:
        raise errors.BadRecord(f"meta.json: {len(data)} bytes; at most {RECORD_BYTES_MAX}")


def _check(data: bytes, raw: Any) -> None:
    """Raises BadRecord for a document `raw`, encoded as `data`, that breaks a rule."""
    _check_size(data)
    if not isinstance(raw, dict):
        raise errors.BadRecord("meta.json: must be an object")
    causes = tuple(_problems(raw))
    if causes:
        raise errors.BadRecord(f"meta.json: {'; '.join(map(str, causes))}", causes)


def _complete(raw: dict[str, Any]) -> None:
    """Set each field that may be null and is missing to null: readers index without asking."""
    for path, _, presence, _, _ in FIELDS:
        if presence == NULLABLE:
            parent, _, name = path.rpartition(".")
            (raw[parent] if parent else raw).setdefault(name, None)


def _problems(raw: dict[str, Any]) -> list[errors.Cause]:
    causes = []
    core = raw.get("core")
    for path, kind, presence, _, _ in FIELDS:
        condition = _CONDITIONS.get(presence)
        absent = condition and not (isinstance(core, dict) and core.get(condition) is not None)
        if presence == OPTIONAL or absent:
            continue
        rule = _broken_rule(path, kind, presence, _value(raw, path))
        if rule is not None:
            causes.append(errors.Cause(path, _value(raw, path), rule))
    if raw.get("version") == VERSION and _value(raw, "core.index") is not None:
        causes.append(errors.Cause("version", VERSION, f"must be {INDEXED_VERSION}: core.index"))
    return causes


def _value(raw: dict[str, Any], path: str) -> Any:
    """The field at a dotted path; None when it, or an object above it, is not there."""
    value: Any = raw
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _broken_rule(path: str, kind: str, presence: str, value: Any) -> str | None:
    if value is None:
        return None if presence == NULLABLE else "is required"
    if not isinstance(value, _PYTHON_TYPES[kind]) or isinstance(value, bool):
        return f"must be {kind}"
    if path == "version" and value not in (VERSION, INDEXED_VERSION):
        return f"must be {VERSION} or {INDEXED_VERSION}"
    return None
