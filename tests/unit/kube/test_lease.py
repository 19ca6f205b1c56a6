from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import clock as clocks

from coredumpd import errors
from coredumpd.kube import lease


class Api:
    """Leases with a resourceVersion, in a dictionary."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    async def request(
        self, method: str, path: str, body: Any = None, *, timeout_s: float = 0
    ) -> tuple[int, Any]:
        if self.away:
            raise errors.Unavailable("away")
        if method == "GET":
            if self.lease is None:
                raise errors.NotFound("no lease")
            return 200, {**self.lease, "spec": dict(self.lease["spec"])}
        if method == "POST" and self.lease is not None:
            raise errors.AlreadyExists("there")
        if method == "PUT" and body["metadata"]["resourceVersion"] != self.version:
            raise errors.Conflict("changed")
        self.version += 1
        metadata = body["metadata"] | {"resourceVersion": self.version}
        self.lease = {**body, "metadata": metadata}
        return 200, self.lease


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> clocks.Clock:
    return clocks.Clock(1000.0)


def make(api: Api, clock: clocks.Clock, name: str) -> lease.Leader:
    return lease.Leader(api, "coredumpd", "collector", name, clock)


def step(one: lease.Leader) -> None:
    asyncio.run(one.step())


def test_the_first_leads_and_the_second_does_not(api: Api, clock: clocks.Clock) -> None:
    first, second = make(api, clock, "a"), make(api, clock, "b")
    step(first)
    step(second)
    assert (first.leads, second.leads) == (True, False)


def test_a_leader_that_renews_stays(api: Api, clock: clocks.Clock) -> None:
    first, second = make(api, clock, "a"), make(api, clock, "b")
    for _ in range(10):
        step(first)
        step(second)
        clock.now_s += lease.RENEW_EVERY_S
        assert (first.leads, second.leads) == (True, False)


def test_another_leads_only_after_the_first_has_stopped_to(api: Api, clock: clocks.Clock) -> None:
    first, second = make(api, clock, "a"), make(api, clock, "b")
    step(first)
    for _ in range(60):
        step(second)
        assert not (first.leads and second.leads)
        clock.now_s += 1
    assert second.leads
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1


def test_a_leader_cut_off_from_the_api_stops_to_lead(api: Api, clock: clocks.Clock) -> None:
    first = make(api, clock, "a")
    step(first)
    api.away = True
    clock.now_s += lease.DURATION_S - lease.MARGIN_S
    with pytest.raises(errors.Unavailable):
        step(first)
    assert not first.leads


def test_one_that_resigns_is_followed_at_once(api: Api, clock: clocks.Clock) -> None:
    first, second = make(api, clock, "a"), make(api, clock, "b")
    step(first)
    step(second)
    asyncio.run(first.resign())
    step(second)
    assert (first.leads, second.leads) == (False, True)


def test_of_two_that_take_at_once_one_wins(api: Api, clock: clocks.Clock) -> None:
    async def race() -> list[bool]:
        both = [make(api, clock, "a"), make(api, clock, "b")]
        await asyncio.gather(*(one.step() for one in both), return_exceptions=True)
        return [one.leads for one in both]

    assert sorted(asyncio.run(race())) == [False, True]
