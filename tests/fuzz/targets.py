"""What is fuzzed: each target takes bytes, may raise what its parser promises, and nothing else.

A target is (seeds, function). The seeds are valid: mutations of them get past the first check.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable

from coredumpd import errors
from coredumpd.agent.skipped import kernel_lines
from coredumpd.elfcore import notes, prologue
from coredumpd.formats import cgroup, core_index, core_pattern, names, policy
from coredumpd.formats import record as records
from coredumpd.handler import signals
from coredumpd.handler.evidence import runtime_state as states
from coredumpd.handler.socket import handshake
from tests.support import cores

UID = "4a7f1c2e-0c5d-4b0e-9a6b-0123456789ab"
ID = "0123456789abcdef" * 4
PLACE = cgroup.Place(UID, ID)
CGROUPS_PATH = f"/kubepods/burstable/pod{UID}/{ID}"
STATE = {
    "annotations": {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-uid": UID,
        "io.kubernetes.cri.container-name": "app",
    },
    "linux": {"cgroupsPath": CGROUPS_PATH},
}
META = {
    "version": 1,
    "id": "app-20260102t030405z-7-00ff",
    "time": "2026-01-02T03:04:05.000Z",
    "namespace": "shop",
    "podUID": UID,
    "container": "app",
    "process": {"pid": 7},
    "signal": {"number": 11},
    "core": {"size": 1, "storedSize": 1, "crc32": "00000000", "truncated": {"is": False}},
    "capture": {"attribution": "runtime"},
}
POLICY = {
    "version": 1,
    "node": "n1",
    "maxSize": 4096,
    "captureTimeout": 5,
    "runtimeStateDirs": ["/r"],
}


def cgroup_text(data: bytes) -> None:
    """`/proc/PID/cgroup`: a place is a real uid and a real container id."""
    cgroup.shown(data, "/")
    with contextlib.suppress(errors.Conflict):
        found = cgroup.place(data, "/")
        if found is not None:
            assert names.is_uid(found.pod_uid)
            id = found.container_id
            assert id is None or (len(id) == 64 and id.isalnum())


def handler_arguments(data: bytes) -> None:
    """argv: every number within its bounds, or UsageError."""
    with contextlib.suppress(errors.UsageError):
        args = core_pattern.parse(data.decode("utf-8", "surrogateescape").split("\0"))
        for name, _, largest, _ in core_pattern.FIELDS:
            value = getattr(args, name)
            assert value is None or 0 <= value <= largest


def runtime_state(data: bytes) -> None:
    """A runtime's state file: valid Kubernetes names, or BadRecord."""
    with contextlib.suppress(errors.BadRecord):
        states.parse_outside(data, ID, f"/{ID}", "/")
    with contextlib.suppress(errors.BadRecord):
        found = states.parse(data, PLACE)
        assert names.is_dns_label(found.namespace)
        assert names.is_container(found.container)
        assert names.is_dns_subdomain(found.pod_name)


def meta_json(data: bytes) -> None:
    """meta.json: survives being written and read again; a key that is safe, or Invalid."""
    with contextlib.suppress(errors.BadRecord):
        crash = records.CrashRecord.parse(data)
        with contextlib.suppress(errors.BadRecord):  # escaping may carry it over the size limit
            assert records.CrashRecord.parse(crash.encode()).raw.keys() == crash.raw.keys()
        with contextlib.suppress(errors.Invalid):
            parts = str(crash.key()).split("/")
            assert len(parts) == 4
            assert not {"", ".", ".."} & set(parts)


def index_of_a_core(data: bytes) -> None:
    """core.index: parts of the core and of core.gz that lie within both, or BadRecord."""
    with contextlib.suppress(errors.BadRecord):
        index = core_index.parse(data)
        assert index.data_size <= index.core_size
        assert list(index.covering(0, index.core_size)) == list(index)
        assert core_index.build(index.core_size, index).data == data
    with contextlib.suppress(errors.BadRecord):
        _, entries = core_index.recover(data)
        assert sum(entry[3] for entry in entries) <= 2**45


def policy_snapshot(data: bytes) -> None:
    """policy.json: limits that are numbers of the right sign, or BadRecord."""
    with contextlib.suppress(errors.BadRecord):
        rules = policy.parse(data)
        assert rules.maxSize >= 0
        assert rules.captureTimeout >= 0
        assert all(path.startswith("/") for path in rules.runtimeStateDirs)


def socket_words(data: bytes) -> None:
    """What precedes a core on a socket: agreed, or refused, and never waited for."""
    theirs, ours = socket.socketpair()
    with theirs, ours:
        theirs.sendall(data[:8192])
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(errors.BadRequest, errors.Unavailable):
            handshake.accept(ours.fileno())


def kernel_log(data: bytes) -> None:
    """A record of /dev/kmsg: a known fate of some crashes, or nothing."""
    told = kernel_lines.parse(data)
    assert told is None or told.reason in {
        *kernel_lines.ADVICE,
        kernel_lines.POLICY,
        kernel_lines.STORED,
    }


def core_start(data: bytes) -> None:
    """The start of a core: in one piece as byte by byte, bounded, and without an exception."""
    whole, pieces = prologue.Prologue(), prologue.Prologue()
    whole.feed(data)
    for byte in data:
        pieces.feed(bytes([byte]))
    for name in ("problem", "size", "notes", "wants_more"):
        assert getattr(whole, name) == getattr(pieces, name)
    if whole.problem is not None:
        assert (whole.header, whole.segments, whole.size) == (None, None, None)
        return
    assert whole.is_cut(0)
    if whole.header is not None:
        fault = notes.fault(whole.header, whole.notes)
        assert all(value is None or 0 <= value < 2**64 for value in (fault.address, fault.pc))
        signals.code_name(fault.signal or 0, fault.code or 0)
        if whole.segments is not None:
            end = whole.header.phoff + len(whole.segments) * whole.header.segment_bytes
            for segment in whole.segments:
                assert end <= segment.offset or not segment.filesz
                end = max(end, segment.offset + segment.filesz if segment.filesz else 0)
            assert end <= (whole.size or 0)


def _core(bits: int, order: str, machine: int) -> bytes:
    """All that precedes the memory in a small core."""
    text = cores.prstatus(112 if bits == 64 else 72, range(35), bits, order)
    text += cores.siginfo(11, 1, 0x1234, bits, order)
    return cores.written([100, 0, 5000], text, bits, order, machine)[:1500]


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


_INDEX = core_index.build(2**20, [(524288, 4096, 0, 70), (0, 8192, 70, 99), (8192, 512, 169, 20)])
_REQUEST = bytes([16, 0, 0, 0, 16, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0])
TARGETS: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], None]]] = {
    "cgroup": ((f"0::{CGROUPS_PATH}\n".encode(), b"1:name=systemd:/user.slice\n"), cgroup_text),
    "argv": (
        (b"7\x001\x007\x001\x000\x000\x0011\x001700000000\x000\x001\x003",),
        handler_arguments,
    ),
    "runtime": ((_json(STATE),), runtime_state),
    "record": ((_json(META),), meta_json),
    "core_index": ((_INDEX.data, _INDEX.data[:60]), index_of_a_core),
    "policy": ((_json(POLICY),), policy_snapshot),
    "handshake": ((_REQUEST + bytes(4), _REQUEST + b"\1\0\0\0"), socket_words),
    "core": (
        (
            _core(64, "<", 62),
            _core(32, "<", 3),
            _core(64, ">", 22),
            _core(32, ">", 8),
            cores.header(cores.PN_XNUM, sections_at=2**40)
            + cores.segment(cores.NOTE, 64 + 70_000 * 56, 100, memory=0),
        ),
        core_start,
    ),
    "kmsg": ((b"4,1,2,-;coredump: 7(x): over core_pipe_limit, skipping core dump\n",), kernel_log),
}
