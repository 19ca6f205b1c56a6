from __future__ import annotations

import pytest
from support import cores

from coredumpd.elfcore import prologue
from coredumpd.formats import cgroup, core_pattern, policy
from coredumpd.formats import record as records
from coredumpd.gzipio import member
from coredumpd.handler import crash as crashes
from coredumpd.handler import describe
from coredumpd.handler.evidence import process, runtime_state

PLACE = cgroup.Place("1234-5678", "0" * 64)


def crash(place: cgroup.Place | None, owner: runtime_state.Container | None) -> crashes.Crash:
    words = ["7", "1", "7", "1", "0", "0", "11", "1764000000", "0", "1", ""]
    made = crashes.Crash(-1, core_pattern.parse(words), "/d", "pipe")
    made.rules = policy.Policy()
    made.owner = owner
    made.process = process.Process()
    made.process.cgroup_path = "/kubepods"
    made.process.comm = "app"
    made.process.cwd = None
    made.process.exe = "/bin/app"
    made.process.exe_deleted = False
    made.process.threads = 1
    made.process.place = place
    made.process.start_time = 1764000000.5
    return made


@pytest.mark.parametrize(
    ("place", "owner", "namespace", "attribution"),
    [
        (PLACE, runtime_state.Container("team-a", "web", "app", None), "team-a", "runtime"),
        (PLACE, None, None, "cgroup-only"),
        (None, None, "_host", "cgroup-only"),
    ],
)
def test_a_first_record_is_whole_and_says_who_named_the_pod(
    place: cgroup.Place | None,
    owner: runtime_state.Container | None,
    namespace: str | None,
    attribution: str,
) -> None:
    record = describe.begun(crash(place, owner))
    assert records.CrashRecord.parse(record.encode()).raw == record.raw
    assert (record.namespace, record.attribution) == (namespace, attribution)
    assert (record.signal, record.pid, record.truncated) == ("SIGSEGV", 7, True)
    assert record.id.startswith("app-20251124t160000z-7-")


def test_a_finished_record_has_what_was_stored() -> None:
    begun = describe.begun(crash(PLACE, None))
    result = member.Result()
    result.add(9, 5, 0xAB)
    record = describe.finished(begun, result, prologue.Prologue(), None, 1.5)
    assert (record.size, record.stored_size, record.truncated) == (9, 5, False)
    assert record.raw["core"]["crc32"] == "000000ab"
    assert record.raw["capture"]["durationMs"] == 1500
    assert begun.truncated


def finished(core: bytes) -> records.CrashRecord:
    """The record of a SIGSEGV with this core."""
    start = prologue.Prologue()
    start.feed(core)
    return describe.finished(describe.begun(crash(PLACE, None)), member.Result(), start, None, 1.0)


def test_a_finished_record_has_the_fault_that_the_core_states() -> None:
    notes = cores.prstatus(112, range(0x400000, 0x400018)) + cores.siginfo(11, 1, 0xDEAD0000)
    record = finished(cores.written([100], notes))
    assert record.raw["signal"] == {
        "number": 11,
        "name": "SIGSEGV",
        "code": 1,
        "codeName": "SEGV_MAPERR",
        "address": "0xdead0000",
        "pc": "0x400010",
    }
    assert record.raw["core"]["malformed"] is None
    assert records.CrashRecord.parse(record.encode()).raw == record.raw


def test_a_core_of_another_signal_than_the_kernels_states_no_fault() -> None:
    notes = cores.prstatus(112, range(24)) + cores.siginfo(8, 1, 0xDEAD0000)
    signal = finished(cores.written([100], notes)).raw["signal"]
    assert signal.pop("number") == 11
    assert signal.pop("name") == "SIGSEGV"
    assert set(signal.values()) == {None}


def test_a_record_names_the_rule_that_a_malformed_core_breaks() -> None:
    record = finished(b"secrets of another")
    assert record.raw["core"]["malformed"] == "it does not begin as an ELF file"
    assert record.raw["signal"]["code"] is None


def test_a_time_has_milliseconds_and_never_leaves_the_year_9999() -> None:
    assert describe.timestamp(1764000000.25) == "2025-11-24T16:00:00.250Z"
    assert describe.timestamp(2.0**64).startswith("9999-12-31T23:59:59")
