from __future__ import annotations

import asyncio
from typing import Any

from support.kube import kubeevents

from coredumpd import errors
from coredumpd.kube import events


class Away:
    async def request(self, *args: Any, **named: Any) -> Any:
        raise errors.Unavailable("away")


def test_repeats_of_one_crash_are_one_event_with_a_count() -> None:
    async def crash_thrice(api: kubeevents.Api) -> None:
        told = events.Events(api, "node1", repeat_interval_s=0.0)
        for _ in range(3):
            await told.pod("default", "web", "1234-5678", "CoreDumped", "it died")

    api = kubeevents.Api()
    asyncio.run(crash_thrice(api))
    (event,) = api.events.values()
    assert event["count"] == 3


def test_a_crash_loop_is_no_storm_of_requests() -> None:
    async def crash_often(api: kubeevents.Api) -> None:
        told = events.Events(api, "node1", repeat_interval_s=0.2)
        task = asyncio.create_task(told.run())
        for _ in range(100):
            await told.pod("default", "web", "1234-5678", "CoreDumped", "it died")
        assert api.requests <= 2
        async with asyncio.timeout(10):
            while next(iter(api.events.values()))["count"] < 100:
                await asyncio.sleep(0.02)
        task.cancel()

    api = kubeevents.Api()
    asyncio.run(crash_often(api))


def test_an_event_that_cannot_be_written_delays_nothing() -> None:
    told = events.Events(Away(), "node1")
    asyncio.run(told.pod("default", "web", "1234-5678", "CoreDumped", "it died"))
