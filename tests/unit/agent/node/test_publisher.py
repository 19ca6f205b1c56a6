from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from coredumpd.agent import tally
from coredumpd.agent.node import publisher
from coredumpd.formats import guard_status


@pytest.fixture
def host_dir(tmp_path: Path) -> Path:
    for name in ("guard", "shipper"):
        (tmp_path / name).mkdir()
    return tmp_path


def made(host_dir: Path, problems: list[str] | None = None) -> publisher.Publisher:
    return publisher.Publisher(host_dir, tally.Tally(), lambda: problems or [])


def status(host_dir: Path) -> guard_status.Status:
    return guard_status.Status.parse((host_dir / "guard/status.json").read_bytes())


def reply(host_dir: Path, event: int = 0, ended: bool | None = None, guard: str = "") -> None:
    document = guard_status.Reply(guard or status(host_dir).guard, event, ended)
    (host_dir / "shipper/reply.json").write_bytes(document.encode())


def test_problems_and_counters_are_published(host_dir: Path) -> None:
    counters = tally.Tally()
    one = publisher.Publisher(host_dir, counters, lambda: ["core_pattern is not ours"])
    counters.skipped.inc(3, "pipe-limit")
    counters.pattern_ours = True
    one.publish()
    assert status(host_dir).problems == ("core_pattern is not ours",)
    assert status(host_dir).counters["skipped"] == {"pipe-limit": 3}
    assert status(host_dir).pattern_ours


def test_the_latest_loss_of_each_container_is_published(host_dir: Path) -> None:
    counters = tally.Tally()
    one = publisher.Publisher(host_dir, counters, list)
    counters.losses.add("c" * 64, "failed", "the disk is full")
    one.publish()
    (loss,) = status(host_dir).losses
    assert (loss.container, loss.reason, loss.problem) == ("c" * 64, "failed", "the disk is full")


def test_an_event_stays_until_the_shipper_has_reported_it(host_dir: Path) -> None:
    one = made(host_dir)
    for message in ("first", "second"):
        asyncio.run(one.node("Reason", message))
    one.publish()
    reply(host_dir, event=1)
    one.publish()
    assert [event.message for event in status(host_dir).events] == ["second"]


def test_repeats_count_until_the_shipper_may_have_read_the_event(host_dir: Path) -> None:
    one = made(host_dir)
    for _ in range(2):
        asyncio.run(one.node("Reason", "again"))
    one.publish()
    asyncio.run(one.node("Reason", "again"))
    one.publish()
    assert [event.count for event in status(host_dir).events] == [2, 1]


def test_events_that_nobody_reports_are_bounded(host_dir: Path, caplog) -> None:
    one = made(host_dir)
    for number in range(guard_status.EVENTS_MAX + 5):
        asyncio.run(one.node("Reason", str(number)))
    one.publish()
    assert len(status(host_dir).events) == guard_status.EVENTS_MAX
    assert "dropped" in caplog.text


@pytest.mark.parametrize("ended", [True, False])
def test_the_verdict_is_the_shippers(host_dir: Path, ended: bool) -> None:
    one = made(host_dir)
    one.publish()
    reply(host_dir, ended=ended)
    assert asyncio.run(one.verdict(5)) is ended
    assert status(host_dir).leaving


def test_without_a_reply_there_is_no_verdict(host_dir: Path) -> None:
    assert asyncio.run(made(host_dir).verdict(0.1)) is None


def test_a_verdict_for_an_earlier_guard_counts_for_nothing(host_dir: Path) -> None:
    one = made(host_dir)
    one.publish()
    reply(host_dir, ended=True, guard="f" * 16)
    assert asyncio.run(one.verdict(0.1)) is None
    assert not one.is_heard


@pytest.mark.parametrize("plant", ["link", "fifo", "directory", "long", "hard link"])
def test_what_a_taken_over_shipper_plants_is_no_reply(host_dir: Path, plant: str, caplog) -> None:
    one = made(host_dir)
    one.publish()
    reply(host_dir, ended=True)
    path = host_dir / "shipper/reply.json"
    elsewhere = host_dir / "elsewhere"
    path.rename(elsewhere)
    match plant:
        case "link":
            path.symlink_to(elsewhere)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "long":
            path.write_bytes(elsewhere.read_bytes() + b" " * guard_status.REPLY_BYTES_MAX)
        case "hard link":
            os.link(elsewhere, path)
    assert asyncio.run(one.verdict(0.6)) is None
    assert caplog.text.count("the shipper's reply is not readable") == 1


def test_a_status_that_cannot_be_written_ends_nothing(host_dir: Path, caplog) -> None:
    one = made(host_dir)
    (host_dir / "guard").rmdir()
    one.publish()
    one.publish()
    assert caplog.text.count("the guard's status cannot be written") == 1
