from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coredumpd.agent import tally
from coredumpd.agent.node import drift, sysctls

OURS = "|/h/current/coredumpd handle %P"


def test_a_few_corrections_are_no_fight() -> None:
    fight = drift.Fight()
    for second in range(drift.FIGHT_CORRECTIONS_MAX):
        assert fight.may_correct(second)
        assert fight.corrected(second) == 0.0
    assert fight.may_correct(drift.FIGHT_CORRECTIONS_MAX)


def test_corrections_that_are_far_apart_are_never_a_fight() -> None:
    fight = drift.Fight()
    for number in range(100):
        assert fight.corrected(number * 13.0) == 0.0


def test_a_fight_backs_off_for_a_minute_then_for_two_up_to_an_hour() -> None:
    fight, now, waits = drift.Fight(), 1000.0, []
    while len(waits) < 8:
        assert fight.may_correct(now)
        wait = fight.corrected(now)
        if wait:
            waits.append(wait)
            assert not fight.may_correct(now + wait - 0.1)
            now += wait
        now += 1
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_after_a_long_peace_a_fight_is_a_first_one_again() -> None:
    fight = drift.Fight()
    for second in range(6):
        fight.corrected(second)
    assert [fight.corrected(10_000 + second) for second in range(6)][-1] == 60


async def look(keeper: drift.Monitor) -> None:
    keeper.check()


class Quiet:
    """Events that nobody reports."""

    async def node(self, reason: str, message: str) -> None:
        pass


@pytest.fixture
def node(tmp_path: Path) -> tuple[drift.Monitor, Path]:
    for name in (sysctls.PATTERN, sysctls.PIPE_LIMIT, sysctls.SUID_DUMPABLE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("0\n")
    made = sysctls.CoreSysctls(tmp_path, OURS, 16, None, proc_sys=tmp_path)
    return drift.Monitor(made, tally.Tally(), Quiet()), tmp_path


def test_drift_is_put_back_and_the_value_found_is_logged(node, caplog) -> None:
    keeper, proc_sys = node
    (proc_sys / sysctls.PATTERN).write_text("|/bin/evil\x1b[31m\n")
    asyncio.run(look(keeper))
    assert (proc_sys / sysctls.PATTERN).read_text() == OURS + "\n"
    assert keeper.ours
    assert "|/bin/evil\\x1b[31m" in caplog.text


def test_what_cannot_be_read_is_not_ours_and_does_not_end_the_guard(node, caplog) -> None:
    keeper, proc_sys = node
    (proc_sys / sysctls.PATTERN).unlink()
    asyncio.run(look(keeper))
    assert not keeper.ours
    assert "core settings" in caplog.text


def test_a_fight_is_told_and_left_alone(node, caplog) -> None:
    keeper, proc_sys = node

    async def fight() -> None:
        for _ in range(10):
            (proc_sys / sysctls.PATTERN).write_text("theirs\n")
            keeper.check()

    asyncio.run(fight())
    assert (proc_sys / sysctls.PATTERN).read_text() == "theirs\n"
    assert not keeper.ours
    assert caplog.text.count("something else keeps changing the core settings") == 1
