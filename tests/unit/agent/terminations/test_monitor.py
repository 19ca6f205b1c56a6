from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from support import dumps
from support.kube import endings, kubeevents

from coredumpd.agent import events, metrics
from coredumpd.agent.terminations import monitor, pending
from coredumpd.formats import guard_status

SETTLED = pending.SETTLE_S + 0.1


class World:
    """A monitor with sources of its own, on the loop of `judged`."""

    def __init__(self, **sources: Any) -> None:
        self.api = kubeevents.Api()
        self.counters = metrics.Metrics()
        self.monitor = monitor.Monitor(
            events.Events(self.api, "node1"),
            self.counters,
            monitor.Sources(**{"capturing": set[str]} | sources),
            wait_s_max=300,
        )

    def judged(self, *steps: Callable[[monitor.Monitor], None]) -> list[Any]:
        """The Events after each of `steps` and the time that an end waits."""

        async def judge() -> None:
            for step in steps:
                step(self.monitor)
                await self.monitor.judge(time.monotonic() + SETTLED)

        asyncio.run(judge())
        return list(self.api.events.values())

    def count(self, reason: str) -> bool:
        text = self.counters.text().decode()
        return f'coredumpd_agent_without_core_total{{reason="{reason}"}}' in text


def now_s() -> float:
    return float(int(time.time()) + 1)  # not before the monitor was made


def test_a_container_that_ended_without_a_core_is_told_to_its_pod_and_counted() -> None:
    world = World()
    pod = endings.pod(139, now_s(), kind="init")
    (event,) = world.judged(lambda one: one.observe(pod), lambda one: one.observe(pod))
    assert (event["reason"], event["count"]) == ("CoreDumpMissing", 1)
    assert event["involvedObject"]["fieldPath"] == "spec.initContainers{app}"
    assert "exit code 139 (SIGSEGV): the cause is not known" in event["message"]
    assert world.count("unknown")


def test_the_guards_loss_of_this_very_container_is_the_cause() -> None:
    losses = [
        guard_status.Loss("d" * 64, "share", "of another container", int(now_s())),
        guard_status.Loss(endings.CONTAINER, "failed", "the disk is full", int(now_s())),
    ]
    world = World(losses=lambda: losses)
    (event,) = world.judged(lambda one: one.observe(endings.pod(139, now_s())))
    assert event["message"].endswith("its crash was not stored: the disk is full")
    assert world.count("failed")


def test_a_rule_against_its_pod_and_an_agent_that_is_not_well_are_causes() -> None:
    (event,) = World(rule=lambda end: f"{end.namespace} forbids it").judged(
        lambda one: one.observe(endings.pod(139, now_s()))
    )
    assert event["message"].endswith("default forbids it")
    (event,) = World(problems=lambda: ["core_pattern is not ours", "x"]).judged(
        lambda one: one.observe(endings.pod(139, now_s()))
    )
    assert event["message"].endswith("not well: core_pattern is not ours; x")


def test_a_container_whose_dump_has_arrived_is_not_missing() -> None:
    world = World()
    time_ = endings.timestamp(now_s())
    record = dumps.crash(time=time_, containerID=endings.CONTAINER)
    assert (
        world.judged(
            lambda one: one.arrived(record), lambda one: one.observe(endings.pod(139, now_s()))
        )
        == []
    )


def test_a_dump_that_its_pod_does_not_want_is_told_when_it_is_removed() -> None:
    (event,) = World().judged(lambda one: one.refused(dumps.crash()))
    assert event["reason"] == "CoreDumpMissing"
    assert event["message"] == "no core was kept of /bin/app: its pod wants no dumps"
    assert World().judged(lambda one: one.refused(dumps.crash(podName=None))) == []


def test_a_container_that_dies_again_and_again_raises_the_count_of_one_event() -> None:
    world = World()
    deaths = [endings.pod(139, now_s(), container_id=f"{n:064x}", last=True) for n in range(50)]
    (event,) = world.judged(*[lambda one, pod=pod: one.observe(pod) for pod in deaths])
    assert world.api.requests == 1  # the repeats wait for their turn
    assert event["count"] == 1
    assert 'without_core_total{reason="unknown"} 50.0' in world.counters.text().decode()


def test_a_spool_that_cannot_be_read_postpones_every_verdict() -> None:
    def broken() -> set[str]:
        raise OSError(5, "Input/output error")

    assert World(capturing=broken).judged(lambda one: one.observe(endings.pod(139, now_s()))) == []


def test_the_job_judges_an_end_by_itself_when_its_time_has_come(monkeypatch: Any) -> None:
    monkeypatch.setattr(pending, "SETTLE_S", 0.05)
    world = World()

    async def run() -> None:
        async with asyncio.timeout(10):
            job = asyncio.create_task(world.monitor.run())
            await asyncio.sleep(0)
            world.monitor.observe(endings.pod(139, now_s()))
            while not world.api.events:
                await asyncio.sleep(0.01)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    asyncio.run(run())
