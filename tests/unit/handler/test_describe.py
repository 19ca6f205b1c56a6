from __future__ import annotations

import pytest

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
    result.size, result.stored_size, result.crc32, result.reason = 9, 5, 0xAB, None
    result.members, result.sparse_size = 1, 0
    record = describe.finished(begun, result, None, 1.5)
    assert (record.size, record.stored_size, record.truncated) == (9, 5, False)
    assert record.raw["core"]["crc32"] == "000000ab"
    assert record.raw["capture"]["durationMs"] == 1500
    assert begun.truncated


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (31, "SIGSYS"), (40, None)])
def test_a_signal_has_its_name(number: int, name: str | None) -> None:
    assert describe.signal_name(number) == name


def test_a_time_has_milliseconds_and_never_leaves_the_year_9999() -> None:
    assert describe.timestamp(1764000000.25) == "2025-11-24T16:00:00.250Z"
    assert describe.timestamp(2.0**64).startswith("9999-12-31T23:59:59")
