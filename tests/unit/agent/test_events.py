from __future__ import annotations

import asyncio
from typing import Any

from support import dumps

from coredumpd import crashloop, errors
from coredumpd.agent import events
from coredumpd.kube import events as kube_events
from coredumpd.spool import stream


class Api:
    """A kube-apiserver's events, in a dictionary."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        self.requests = 0

    async def request(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        name = path.rsplit("/", 1)[1]
        self.requests += 1
        match method:
            case "POST" if body["metadata"]["name"] in self.events:
                raise errors.AlreadyExists("it is there")
            case "POST":
                self.events[body["metadata"]["name"]] = body
            case "PATCH":
                self.events[name] |= body
        return 200, None


class Away:
    async def request(self, *args: Any, **named: Any) -> Any:
        raise errors.Unavailable("away")


def test_a_dump_is_told_to_its_pod_in_words_a_person_understands() -> None:
    api = Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash()))
    (event,) = api.events.values()
    assert event["reason"] == "CoreDumped"
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["uid"] == "1234-5678"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{app}"
    assert event["message"].startswith("/bin/app died of SIGSEGV; its core of 4 is kept as app-")


def test_a_cut_dump_says_why() -> None:
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": "maxSize", "limit": 4}
    api = Api()
    asyncio.run(events.Events(api, "node1").dumped(crash))
    (event,) = api.events.values()
    assert event["reason"] == "CoreDumpTruncated"
    assert event["message"].endswith("cut short: maxSize")


def test_a_loop_that_is_only_counted_says_how_often() -> None:
    crash = dumps.make()[1]
    fold = crashloop.Fold((crashloop.of(crash),), 25)
    counting = crashloop.counting(crash, fold, crash.raw["time"], 1)
    assert events.reason_of(counting) == "CoreDumpSkipped"
    assert "died of SIGSEGV 25 times more in a crash loop" in events.describe(counting)
    assert events.repeats(counting) == events.repeats(crash)


def test_a_core_that_the_quota_refuses_is_told_as_that() -> None:
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": stream.QUOTA, "limit": 0}
    assert events.reason_of(crash) == "CoreDumpQuota"
    assert "its core is not kept" in events.describe(crash)


def test_repeats_of_one_crash_are_one_event_with_a_count(monkeypatch: Any) -> None:
    monkeypatch.setattr(kube_events, "REPEAT_INTERVAL_S", 0.0)

    async def crash_thrice(api: Api) -> None:
        told = events.Events(api, "node1")
        for id in ("app-1", "app-2", "app-3"):
            await told.dumped(dumps.crash(id))

    api = Api()
    asyncio.run(crash_thrice(api))
    (event,) = api.events.values()
    assert event["count"] == 3
    assert event["message"].endswith("app-3")


def test_a_crash_loop_is_no_storm_of_requests(monkeypatch: Any) -> None:
    monkeypatch.setattr(kube_events, "REPEAT_INTERVAL_S", 0.2)

    async def crash_often(api: Api) -> None:
        told = events.Events(api, "node1")
        task = asyncio.create_task(told.run())
        for number in range(100):
            await told.dumped(dumps.crash(f"app-{number}"))
        assert api.requests <= 2
        async with asyncio.timeout(10):
            while next(iter(api.events.values()))["count"] < 100:
                await asyncio.sleep(0.02)
        task.cancel()

    api = Api()
    asyncio.run(crash_often(api))


def test_a_host_crash_is_nobodys_event() -> None:
    api = Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash(namespace="_host")))
    assert api.events == {}


def test_an_event_that_cannot_be_written_delays_nothing() -> None:
    asyncio.run(events.Events(Away(), "node1").node("CorePatternChanged", "someone changed it"))
