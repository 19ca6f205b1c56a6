from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import dumps

from coredumpd import errors
from coredumpd.agent.shipping import kept
from coredumpd.spool import entries

some_dumps = some.lists(
    some.builds(
        kept.Dump,
        some.text(max_size=3),
        some.sampled_from(["", "a", "b"]),
        some.integers(0, 50),
        some.floats(0, 100),
    ),
    unique_by=lambda dump: dump.name,
    max_size=30,
)


@given(some_dumps, some.integers(0, 10), some.integers(0, 200), some.floats(0, 100))
def test_what_stays_is_within_every_bound_and_no_more_goes_than_must(
    kept_dumps: list[kept.Dump], entries_max: int, bytes_max: int, age_s: float
) -> None:
    bounds = kept.Bounds(entries_max, bytes_max, age_s)
    gone = kept.excess(kept_dumps, bounds, 100.0)
    stay = set(kept_dumps) - set(gone)
    assert len(gone) == len(set(gone))
    assert len(stay) <= entries_max
    assert sum(dump.size for dump in stay) <= bytes_max
    assert all(100.0 - dump.since_s <= age_s for dump in stay)
    if gone and 100.0 - gone[-1].since_s <= age_s:
        larger = stay | {gone[-1]}
        assert len(larger) > entries_max or sum(dump.size for dump in larger) > bytes_max


def test_one_pods_flood_costs_no_other_pod_its_dump() -> None:
    flood = [kept.Dump(f"f{number}", "loud", 10, number) for number in range(50)]
    calm = kept.Dump("calm", "calm", 10, 0)
    gone = kept.excess([*flood, calm], kept.Bounds(10, 10**9, 10**9), 100.0)
    assert calm not in gone
    assert [dump.name for dump in gone] == [f"f{number}" for number in range(41)]


class Node:
    """A spool, and what was reported."""

    def __init__(self, directory: Path, bounds: kept.Bounds) -> None:
        self.path = directory / "spool"
        self.path.mkdir(mode=0o700)
        self.reports: list[str] = []
        self.spool = entries.Spool(str(self.path))
        self.keeper = kept.Keeper(self.spool, bounds, self, self)

    def dropped(self, reason: str, text: str) -> None:
        self.reports.append(reason)

    async def node(self, reason: str, message: str) -> None:
        self.reports.append(reason)

    def withhold(self, id: str, pod: str = "pod") -> None:
        dumps.spooled(self.path, id)
        asyncio.run(self.keeper.withhold(id, pod, errors.CannotAttribute(id)))


def test_withheld_dumps_are_bounded_in_number_told_once_each_and_counted(tmp_path: Path) -> None:
    node = Node(tmp_path, kept.Bounds(entries_max=2))
    for number in range(4):
        node.withhold(f"app-{number}")
    assert node.keeper.count == 2
    assert len(node.spool.entries()) == 2
    assert node.reports.count("unattributed") == 2
    assert node.keeper.notices() == ["2 dumps stay on the node: nothing proves whose they are"]


def test_entries_set_aside_are_bounded_in_number_bytes_and_age(tmp_path: Path) -> None:
    node = Node(tmp_path, kept.Bounds(entries_max=3, age_s_max=3600))
    for number in range(6):
        dumps.spooled(node.path, f"app-{number}")
    for entry in node.spool.entries():
        entry.set_aside()
    old = time.time() - 7200
    os.utime(node.path / "app-5.bad", (old, old))
    (node.path / "planted.bad").write_text("a file")
    os.mkfifo(node.path / "fifo.bad")
    asyncio.run(node.keeper.prune())
    left = sorted(os.listdir(node.path))
    assert len(left) == 3
    assert "app-5.bad" not in left
    assert node.reports == ["set-aside"] * 5
    large = kept.Keeper(node.spool, kept.Bounds(bytes_max=0), node, node)
    asyncio.run(large.prune())
    assert all(name in ("fifo.bad",) for name in os.listdir(node.path))


def test_an_entry_set_aside_twice_replaces_the_first_and_its_age_begins_anew(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, kept.Bounds())
    for _ in range(2):
        path = dumps.spooled(node.path, "app-1")
        os.utime(path, (0, 0))
        (entry,) = node.spool.entries()
        entry.set_aside()
    ((name, _, since_s),) = node.spool.aside()
    assert name == "app-1.bad"
    assert since_s > time.time() - 60


def test_a_dump_that_is_gone_is_not_withheld(tmp_path: Path) -> None:
    node = Node(tmp_path, kept.Bounds())
    asyncio.run(node.keeper.withhold("app-1", "pod", errors.CannotAttribute("app-1")))
    assert (node.keeper.count, node.reports) == (0, [])


@pytest.mark.parametrize("id", ["app-1", "app-2"])
def test_a_withheld_dump_waits_until_it_is_released(tmp_path: Path, id: str) -> None:
    node = Node(tmp_path, kept.Bounds())
    node.withhold(id)
    assert node.keeper.is_waiting(id)
    node.keeper.release(id)
    assert not node.keeper.is_waiting(id)
    assert node.keeper.notices() == []
