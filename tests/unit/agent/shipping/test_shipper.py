from __future__ import annotations

import asyncio
import errno
import gzip
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support import dumps

from coredumpd import aiokit, errors
from coredumpd.agent.shipping import attribution, delivery, kept, shipper
from coredumpd.formats import core_index, crash_loop, layout, names
from coredumpd.formats import record as records
from coredumpd.spool import entries
from coredumpd.store import engines as stores

DEADLINE_S = 20


class Reporter:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.arrivals: list[str] = []

    def arrived(self, crash: records.CrashRecord) -> None:
        self.arrivals.append(crash.id)

    async def shipped(self, crash: records.CrashRecord) -> None:
        self.told.append(("shipped", crash.id))

    async def refused(self, crash: records.CrashRecord) -> None:
        self.told.append(("refused", crash.id))

    def folded(self, crashes: int) -> None:
        self.told.append(("counted", str(crashes)))

    async def failed(self, id: str, error: errors.CoredumpdError) -> None:
        self.told.append(("failed", id))

    async def set_aside(self, id: str) -> None:
        self.told.append(("aside", id))

    def dropped(self, reason: str, text: str) -> None:
        self.told.append(("dropped", reason))

    async def node(self, reason: str, message: str) -> None:
        self.told.append((reason, message))


class Node:
    """A spool, a store that may fail on purpose, and what the shipper told."""

    def __init__(self, directory: Path) -> None:
        (directory / "store").mkdir()
        self.spool = entries.Spool(str(directory / "spool"))
        self.store = stores.open_store(f"file://{directory}/store")
        self.reporter = Reporter()
        self.refuse: Callable[[layout.DumpKey], bool] = lambda key: False
        self.role: shipper.Shipper | None = None
        self.retry_after_s: int | None = None
        self.scan_interval_s = 10.0
        self.attributor: Any = None

    def commit(
        self,
        key: layout.DumpKey,
        crash: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        if self.refuse(key):
            refusal = errors.StorageError("the store is away")
            refusal.retry_after_s = self.retry_after_s
            raise refusal
        self.store.commit(key, crash, core, index)

    def run(
        self, until: Callable[[], bool], meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        async def ship() -> None:
            attributor = self.attributor or attribution.Attributor(None, "node1")
            deliveries = delivery.Delivery(self, delivery.Preparation(attributor), self.reporter)
            options = shipper.Options(
                parallel=2, scan_interval_s=self.scan_interval_s, backoff_s_min=0.01
            )
            keeper = kept.Keeper(self.spool, kept.Bounds(), self.reporter, self.reporter)
            role = shipper.Shipper(self.spool, deliveries, self.reporter, options, keeper)
            self.role = role
            task = asyncio.create_task(role.run())
            try:
                async with asyncio.timeout(DEADLINE_S):
                    if meanwhile:
                        await meanwhile()
                    while not until():
                        assert not task.done()
                        await asyncio.sleep(0.01)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(ship())

    def shipped(self) -> list[str]:
        return [id for what, id in self.reporter.told if what == "shipped"]

    def put(self, id: str, **changes: Any) -> Path:
        return dumps.spooled(Path(self.spool.path), id, **changes)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_is_in_the_spool_reaches_the_store_and_leaves_the_spool(node: Node) -> None:
    node.put("a-1", core=b"memory")
    node.run(lambda: node.shipped() == ["a-1"])
    assert node.reporter.arrivals == ["a-1"]
    (key,) = node.store.list()
    core = node.store.open_core(key)
    assert gzip.decompress(core.read_at(0, core.size)) == b"memory"
    core.close()
    assert node.spool.entries() == []


def test_a_new_entry_is_noticed_without_waiting_for_a_scan(node: Node) -> None:
    node.scan_interval_s = 3600

    async def later() -> None:
        await asyncio.sleep(0.2)  # the first scan is over; only inotify can tell now
        node.put("a-1")

    node.run(lambda: node.shipped() == ["a-1"], later)


def test_dumps_of_one_container_arrive_in_the_order_they_were_made(node: Node) -> None:
    for number in range(5):
        node.put(f"{9 - number}-app")
    failures = iter([True, True, False, True])
    node.refuse = lambda key: next(failures, False)
    node.run(lambda: len(node.shipped()) == 5)
    assert node.shipped() == ["9-app", "8-app", "7-app", "6-app", "5-app"]


def test_a_container_whose_dump_fails_does_not_hold_up_another(node: Node) -> None:
    node.put("a-1", containerID="a" * 64)
    node.put("b-1", containerID="b" * 64)
    node.refuse = lambda key: key.id == "a-1"
    node.run(lambda: node.shipped() == ["b-1"])
    assert [entry.id for entry in node.spool.entries()] == ["a-1"]


def test_a_store_that_is_away_loses_nothing_and_is_tried_again(node: Node) -> None:
    node.put("a-1")
    node.refuse = lambda key: len(node.reporter.told) < 5
    node.run(lambda: node.shipped() == ["a-1"])
    assert node.reporter.told[:5] == [("failed", "a-1")] * 5


def test_a_server_that_asks_to_wait_is_not_asked_before(node: Node) -> None:
    node.put("a-1")
    node.retry_after_s = 1
    node.refuse = lambda key: not node.reporter.told
    began = time.monotonic()
    node.run(lambda: node.shipped() == ["a-1"])
    assert time.monotonic() - began >= 1.0


def test_an_entry_that_fails_is_known_to_fail_until_it_is_shipped(node: Node) -> None:
    node.put("a-1")
    failing: list[float] = []

    def away(key: layout.DumpKey) -> bool:
        assert node.role is not None
        failing.append(node.role.failing_s)
        return len(failing) < 4

    node.refuse = away
    node.run(lambda: node.shipped() == ["a-1"] and not (node.role and node.role.waiting))
    assert node.role is not None
    assert failing[0] == 0.0
    assert 0.0 < failing[1] < failing[2] < failing[3]
    assert node.role.failing_s == 0.0
    assert node.role.last_error == "the store is away"


def test_a_folded_entry_that_had_failed_does_not_leave_shipping_stuck(node: Node) -> None:
    away = True
    node.refuse = lambda key: away

    async def crash() -> None:
        nonlocal away
        for number in range(30):
            node.put(crash_id(number), containerID=f"{number:064x}")
        async with asyncio.timeout(DEADLINE_S):
            while len(node.spool.entries()) > 10:
                await asyncio.sleep(0.01)
        away = False

    node.scan_interval_s = 0.05
    node.run(lambda: sum(loop_of(node)) == 30 and not (node.role and node.role.waiting), crash)
    assert node.role is not None
    assert node.role.failing_s == 0.0


def test_how_long_a_commit_takes_no_byte_is_known_while_it_hangs_and_not_after(node: Node) -> None:
    node.put("a-1")
    hanging, seen = threading.Event(), []
    node.refuse = lambda key: bool(hanging.wait(DEADLINE_S)) and False

    async def meanwhile() -> None:
        assert node.role is not None
        while node.role.silent_s < 0.1:
            await asyncio.sleep(0.01)
        seen.append(node.role.silent_s)
        hanging.set()

    node.run(lambda: node.shipped() == ["a-1"], meanwhile)
    assert seen
    assert node.role is not None
    assert node.role.silent_s == 0


def test_an_entry_that_is_no_dump_is_set_aside_and_the_others_go_on(node: Node) -> None:
    (node.put("a-1") / "meta.json").write_text("{}")
    (node.put("b-2") / "core.gz").write_bytes(b"cut")
    node.put("c-3")
    node.run(lambda: len(node.reporter.told) == 3)
    assert sorted(node.reporter.told) == [("aside", "a-1"), ("aside", "b-2"), ("shipped", "c-3")]
    assert (Path(node.spool.path) / "b-2.bad/core.gz").read_bytes() == b"cut"


def test_a_dump_that_is_in_the_store_already_is_only_freed(node: Node) -> None:
    node.put("a-1")
    node.run(lambda: node.shipped() == ["a-1"])
    node.put("a-1")
    node.run(lambda: node.shipped() == ["a-1", "a-1"])
    assert len(list(node.store.list())) == 1
    assert node.spool.entries() == []


def test_pauses_between_tries_double_up_to_a_minute() -> None:
    options = shipper.Options(parallel=1)
    backoff = aiokit.Backoff(options.backoff_s_min, options.backoff_s_max, jitter=0.0)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_what_is_shipped_while_the_spool_is_listed_is_not_taken_for_new(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.scan_interval_s = 0.05
    node.put("a-1")
    stale = node.spool.entries()  # a listing that is older than what becomes of it
    listing = node.spool.entries
    monkeypatch.setattr(node.spool, "entries", lambda: [*stale, *listing()])
    node.run(lambda: node.shipped() == ["a-1"])
    node.put("b-2")
    node.run(lambda: node.shipped() == ["a-1", "b-2"])
    assert [what for what, _ in node.reporter.told] == ["shipped", "shipped"]


def test_a_store_that_finds_nothing_at_all_is_tried_again(node: Node) -> None:
    committing = node.commit
    answers = iter([True, True, True])

    def commit(
        key: layout.DumpKey,
        crash: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        if next(answers, False):
            raise errors.NotFound("404")
        committing(key, crash, core, index)

    node.commit = commit  # type: ignore[method-assign]
    node.put("a-1")
    node.run(lambda: node.shipped() == ["a-1"])
    assert [what for what, _ in node.reporter.told] == ["failed"] * 3 + ["shipped"]


def test_what_cannot_even_be_set_aside_does_not_end_shipping(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: entries.Entry) -> None:
        raise errors.StorageError("no space")

    monkeypatch.setattr(entries.Entry, "set_aside", full)
    (node.put("a-1") / "meta.json").write_text("{}")
    node.put("b-2", containerID="b" * 64)
    node.run(lambda: node.shipped() == ["b-2"])


def crash_id(number: int) -> str:
    return names.make_id("app", 1_790_000_000 + number, 100 + number, 0)


def loop_of(node: Node) -> list[int]:
    """How many crashes each dump of the store stands for, oldest first."""
    found = [crash_loop.of(crash) for _, crash in node.store.scan()]
    return [crash.count for crash in sorted(found, key=lambda crash: crash.time_s)]


def test_of_a_storm_the_first_and_the_last_keep_their_core_and_the_others_are_counted(
    node: Node,
) -> None:
    for number in range(40):  # a container that is restarted each time: as many lanes
        node.put(crash_id(number), containerID=f"{number:064x}")
    node.run(lambda: sum(loop_of(node)) == 40 and not node.spool.entries())
    counts = loop_of(node)
    assert len(counts) < 12, counts
    ids = {key.id for key in node.store.list()}
    assert {crash_id(number) for number in (0, 1, 37, 38, 39)} <= ids


def test_while_the_store_is_away_a_loop_does_not_fill_the_spool(node: Node) -> None:
    away = True
    node.refuse = lambda key: away

    async def crash() -> None:
        nonlocal away
        for number in range(30):
            node.put(crash_id(number))
            await asyncio.sleep(0.01)
        async with asyncio.timeout(DEADLINE_S):
            while len(node.spool.entries()) > 7:  # the one that is being tried, and its place
                await asyncio.sleep(0.01)
        away = False

    node.run(lambda: sum(loop_of(node)) == 30 and not node.spool.entries(), crash)


def test_a_fold_that_fails_loses_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.scan_interval_s = 0.05
    adding = node.spool.add
    tries = iter([True, True, True])

    def add(crash: records.CrashRecord, core: bytes) -> None:
        if next(tries, False):
            raise errors.StorageError("no space")
        adding(crash, core)

    monkeypatch.setattr(node.spool, "add", add)
    node.refuse = lambda key: next(tries, False)
    for number in range(20):
        node.put(crash_id(number))
    node.run(lambda: sum(loop_of(node)) == 20 and not node.spool.entries())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_spool_that_cannot_be_read_is_tried_again_and_told_once(
    node: Node, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node.put("a-1")
    reading, failures = node.spool.entries, []

    def fail() -> object:
        failures.append(number)
        raise OSError(number, "refused")

    monkeypatch.setattr(node.spool, "entries", fail)

    async def recover() -> None:
        while len(failures) < 3:
            await asyncio.sleep(0.01)
        assert node.role is not None
        assert "its dumps wait" in (node.role.scan_problem or "")
        monkeypatch.setattr(node.spool, "entries", reading)

    node.run(lambda: node.shipped() == ["a-1"], recover)
    assert caplog.text.count("the spool cannot be read") == 1
    assert node.role is not None
    assert node.role.scan_problem is None


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_holds_up_one_try(node: Node) -> None:
    node.put("a-1")
    tries = []

    def refuse(key: layout.DumpKey) -> bool:
        tries.append(key)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return False

    node.refuse = refuse
    node.run(lambda: node.shipped() == ["a-1"])
    assert [what for what, _ in node.reporter.told] == ["failed", "failed", "shipped"]


class Unattributing:
    """Proves nothing of the crashes in `unproven`."""

    def __init__(self, unproven: set[str]) -> None:
        self.unproven = unproven
        self.asked: list[str] = []

    async def attribute(self, record: records.CrashRecord) -> records.CrashRecord:
        self.asked.append(record.id)
        if record.id in self.unproven:
            raise errors.CannotAttribute(f"{record.id}: nothing proves whose it is")
        return record


def test_a_withheld_dump_holds_up_no_other_of_its_container_and_is_no_failure(node: Node) -> None:
    node.attributor = Unattributing({"a-1"})
    node.scan_interval_s = 0.05
    for id in ("a-1", "b-2", "c-3"):
        node.put(id)
    node.run(lambda: node.shipped() == ["b-2", "c-3"] and not (node.role and node.role.waiting))
    assert [entry.id for entry in node.spool.entries()] == ["a-1"]
    assert node.attributor.asked.count("a-1") == 1  # and not again at every scan
    assert [what for what, _ in node.reporter.told].count("CoreDumpsWithheld") == 1
    assert node.role is not None
    assert node.role.failing_s == 0.0


def test_a_withheld_dump_is_shipped_once_something_proves_whose_it_is(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "RETRY_S", 0.1)
    node.attributor = Unattributing({"a-1"})
    node.scan_interval_s = 0.05
    node.put("a-1")

    async def later() -> None:
        async with asyncio.timeout(DEADLINE_S):
            while node.attributor.asked.count("a-1") < 2:
                await asyncio.sleep(0.01)
        node.attributor.unproven.clear()

    node.run(lambda: node.shipped() == ["a-1"], later)
