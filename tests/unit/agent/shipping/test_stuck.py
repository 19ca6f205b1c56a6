from __future__ import annotations

import asyncio

from coredumpd.agent.shipping import stuck


class World:
    """The state that the monitor watches, and the Events it writes."""

    waiting = 7
    last_error = "the store is away"
    failing_s = 0.0
    silent_s = 0.0

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.monitor = stuck.Monitor(self, self, 60)

    async def node(self, reason: str, message: str) -> None:
        self.told.append((reason, message))

    def check(self, now_s: float) -> None:
        async def look() -> None:
            self.monitor.check(now_s)
            await asyncio.sleep(0)

        asyncio.run(look())


def test_a_dump_that_fails_for_less_than_the_limit_is_no_problem() -> None:
    world = World()
    world.failing_s = 60.0
    world.check(1)
    assert world.monitor.problem() is None
    assert world.told == []


def test_a_dump_that_fails_for_longer_is_told_once_with_its_error_and_so_is_the_end() -> None:
    world = World()
    world.failing_s = 61.0
    world.check(1)
    world.failing_s = 62.0
    world.check(2)
    world.failing_s = 0.0
    world.check(31)
    problem = "shipping is stuck: a dump has failed for 61 s: the store is away"
    assert world.told == [
        ("CoreDumpsStuck", f"{problem}; 7 dumps wait in the spool"),
        (
            "CoreDumpsResumed",
            "dumps reach the store again, 30 s after the outage was reported;"
            " 7 dumps wait in the spool",
        ),
    ]


def test_a_commit_that_hangs_is_a_problem_though_nothing_has_failed() -> None:
    world = World()
    world.silent_s = 61.0
    assert world.monitor.problem() == (
        "shipping is stuck: a commit has taken no byte for 61 s: the store hangs"
    )
    world.check(1)
    assert [reason for reason, _ in world.told] == ["CoreDumpsStuck"]
