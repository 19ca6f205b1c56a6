from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coredumpd.agent import metrics
from coredumpd.agent.shipping import guard_status as follower
from coredumpd.formats import guard_status

FIRST, SECOND = "1" * 16, "2" * 16


class Node:
    """hostDir, and what became of the guard's words."""

    def __init__(self, host_dir: Path) -> None:
        for name in ("guard", "shipper"):
            (host_dir / name).mkdir()
        self.host_dir = host_dir
        self.metrics = metrics.Metrics()
        self.events: list[str] = []
        self.ended = False
        self.follower = follower.Follower(host_dir, self.metrics, self, self.is_end)

    async def node(self, reason: str, message: str) -> None:
        self.events.append(message)

    async def is_end(self) -> bool:
        return self.ended

    def publish(self, guard: str = FIRST, **fields: object) -> None:
        status = guard_status.Status(guard, **fields)  # type: ignore[arg-type]
        path = self.host_dir / "guard/status.json"
        path.with_suffix(".new").write_bytes(status.encode())
        path.with_suffix(".new").rename(path)

    def turn(self) -> None:
        self.follower.refresh()
        asyncio.run(self.follower._answer())

    def reply(self) -> guard_status.Reply:
        return guard_status.Reply.parse((self.host_dir / "shipper/reply.json").read_bytes())

    def skipped(self) -> float | None:
        name = "coredumpd_agent_skipped_total"
        return self.metrics.registry.get_sample_value(name, {"reason": "failed"})


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_guards_losses_are_those_of_its_last_words(node: Node) -> None:
    assert node.follower.losses() == ()
    loss = guard_status.Loss("c" * 64, "failed", "the disk is full", 7)
    node.publish(losses=(loss,))
    node.turn()
    assert node.follower.losses() == (loss,)


def test_the_guards_counters_become_metrics_that_never_fall(node: Node) -> None:
    for guard, count in ((FIRST, 2), (FIRST, 5), (SECOND, 1)):
        node.publish(guard, counters={"skipped": {"failed": count}, "corrections": {"": 1}})
        node.turn()
    assert node.skipped() == 6
    corrections = "coredumpd_agent_core_pattern_corrections_total"
    assert node.metrics.registry.get_sample_value(corrections) == 2


def test_what_a_guard_notes_is_no_problem(node: Node) -> None:
    node.publish(notices=("no cgroup of their own",))
    node.turn()
    assert node.follower.notices() == ["no cgroup of their own"]
    assert node.follower.problems() == []


def test_a_guard_makes_up_no_metric(node: Node) -> None:
    before = node.metrics.text()
    node.publish(counters={"shipped": {"x": 5}, "text": {"": 1}, "registry": {"": 1}})
    node.turn()
    assert node.metrics.text() == before


def test_each_event_is_reported_once_and_answered(node: Node) -> None:
    event = guard_status.Event(3, "CorePatternDrift", "put back", 2)
    node.publish(events=(event,))
    node.turn()
    node.publish(events=(event,), problems=("other",))
    node.turn()
    assert node.events == ["put back", "put back"]
    assert node.reply() == guard_status.Reply(FIRST, 3)


def test_a_guard_that_starts_anew_counts_its_events_anew(node: Node) -> None:
    for guard in (FIRST, SECOND):
        node.publish(guard, events=(guard_status.Event(1, "Reason", guard),))
        node.turn()
    assert node.events == [FIRST, SECOND]


@pytest.mark.parametrize("ended", [True, False])
def test_a_guard_that_leaves_gets_the_verdict(node: Node, ended: bool) -> None:
    node.ended = ended
    node.publish()
    node.turn()
    assert node.reply().ended is None
    node.publish(leaving=True)
    node.turn()
    assert node.reply().ended is ended


def test_a_shipper_that_ends_gives_its_verdict_unasked(node: Node) -> None:
    node.ended = True
    node.publish()
    asyncio.run(node.follower.end())
    assert node.reply() == guard_status.Reply(FIRST, 0, True)


def test_the_guards_problems_are_ours(node: Node) -> None:
    node.publish(problems=("core_pattern is not ours",))
    node.turn()
    assert node.follower.problems() == ["core_pattern is not ours"]


def test_a_silent_guard_is_a_problem(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.publish()
    node.turn()
    assert node.follower.problems() == []
    monkeypatch.setattr(follower, "SILENT_S_MAX", -1)
    assert "the guard is silent" in node.follower.problems()[0]


@pytest.mark.parametrize("plant", ["link", "garbage"])
def test_a_status_that_cannot_be_believed_is_a_problem(node: Node, plant: str, caplog) -> None:
    node.publish(counters={"skipped": {"failed": 1}})
    path = node.host_dir / "guard/status.json"
    if plant == "link":
        path.rename(node.host_dir / "elsewhere")
        path.symlink_to(node.host_dir / "elsewhere")
    else:
        path.write_bytes(b"{" * 100)
    for _ in range(2):
        node.turn()
    assert "the guard's status is not readable" in node.follower.problems()[0]
    assert caplog.text.count("not readable") == 1
    assert node.skipped() is None
