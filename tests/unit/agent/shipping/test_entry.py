from __future__ import annotations

from typing import Any

from support import dumps

from coredumpd import aiokit
from coredumpd.agent.shipping import entry as entries
from coredumpd.formats import crash_loop


def waiting(**fields: Any) -> entries.Waiting:
    one = entries.Waiting(object(), aiokit.Backoff(1, 1))  # type: ignore[arg-type]
    one.read(dumps.crash(**fields))
    return one


def test_an_entry_waits_in_the_lane_of_its_container_or_of_the_host() -> None:
    assert waiting(containerID="a" * 64).lane == "a" * 64
    assert waiting(containerID=None).lane == "1234-5678"  # its pod's
    assert waiting(containerID=None, podUID=None).lane == "host"


def test_entries_of_one_loop_are_in_one_group_whatever_their_containers_ids() -> None:
    first, restarted = waiting(containerID="a" * 64), waiting(containerID="b" * 64)
    assert first.group == restarted.group == crash_loop.same_crash(dumps.crash())
    assert first.group != waiting(container="sidecar").group


def test_the_clock_of_a_failing_entry_starts_at_its_first_failure() -> None:
    one = waiting()
    assert one.failing_since_s is None
    one.failed()
    first_s = one.failing_since_s
    one.failed()
    assert one.failing_since_s == first_s


def test_a_commit_advances_with_each_byte_it_takes() -> None:
    progress = entries.Progress()
    began_s = progress.last_s
    progress.advance()
    assert progress.last_s >= began_s
