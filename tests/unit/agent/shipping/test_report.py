from __future__ import annotations

import asyncio
from typing import Any

from support import dumps
from support.kube import kubeevents

from coredumpd import errors
from coredumpd.agent import events, metrics
from coredumpd.agent.shipping import report
from coredumpd.formats import record as records


class World:
    """A reporter, its metrics, and the Events it writes."""

    def __init__(self, kube: Any = None) -> None:
        self.metrics = metrics.Metrics()
        self.reporter = report.Reporter(self.metrics, events.Events(kube, "node1"))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"coredumpd_agent_{name}", labels)


def test_a_shipped_dump_is_counted_and_its_pod_gets_an_event() -> None:
    kube = kubeevents.Api()
    world = World(kube)
    record = dumps.crash()

    async def ship() -> None:
        await world.reporter.shipped(record)
        async with asyncio.timeout(20):
            while not kube.events:
                await asyncio.sleep(0.01)

    asyncio.run(ship())
    assert world.value("shipped_total", attribution="runtime") == 1
    assert world.value("shipped_bytes_total") == record.stored_size
    assert [event["reason"] for event in kube.events.values()] == ["CoreDumped"]


def test_an_api_that_hangs_holds_up_no_dump_and_costs_a_bounded_number_of_tasks() -> None:
    class Hanging:
        async def request(self, *_: object, **__: object) -> tuple[int, object]:
            await asyncio.sleep(3600)
            return 200, None

    world = World(Hanging())

    async def ship() -> None:
        for number in range(report.EVENTS_AT_ONCE_MAX + 5):
            await world.reporter.shipped(dumps.crash(f"app-20260102t030405z-{number}-00ff"))

    asyncio.run(ship())
    assert world.value("events_dropped_total") == 5
    assert world.value("shipped_total", attribution="runtime") == report.EVENTS_AT_ONCE_MAX + 5


def test_failures_refusals_and_folds_are_counted() -> None:
    world = World()

    async def reports() -> None:
        await world.reporter.failed("a-1", errors.StorageError("the store is away"))
        await world.reporter.refused(dumps.crash())
        await world.reporter.set_aside("a-1")

    asyncio.run(reports())
    world.reporter.folded(7)
    assert world.value("ship_failures_total", error="StorageError") == 1
    assert world.value("skipped_total", reason="policy") == 1
    assert world.value("set_aside_total") == 1
    assert world.value("folded_total") == 7


def test_an_observer_learns_of_dumps_that_arrive_and_that_are_refused() -> None:
    class Observer:
        def __init__(self) -> None:
            self.reports: list[tuple[str, str]] = []

        def arrived(self, record: records.CrashRecord) -> None:
            self.reports.append(("arrived", record.id))

        def refused(self, record: records.CrashRecord) -> None:
            self.reports.append(("refused", record.id))

    observer = Observer()
    reporter = report.Reporter(metrics.Metrics(), events.Events(None, "node1"), observer)
    reporter.arrived(dumps.crash("a-1"))
    asyncio.run(reporter.refused(dumps.crash("a-1")))
    assert observer.reports == [("arrived", "a-1"), ("refused", "a-1")]
