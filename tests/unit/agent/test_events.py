from __future__ import annotations

import asyncio

import pytest
from support import dumps
from support.kube import kubeevents

from coredumpd.agent import events
from coredumpd.formats import crash_loop
from coredumpd.spool import copier


def test_a_dump_is_told_to_its_pod_in_words_a_person_understands() -> None:
    api = kubeevents.Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash()))
    (event,) = api.events.values()
    assert event["reason"] == "CoreDumped"
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["uid"] == "1234-5678"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{app}"
    assert event["message"].startswith("/bin/app died of SIGSEGV; its core of 4 is kept as app-")


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("init", "spec.initContainers{app}"),
        ("ephemeral", "spec.ephemeralContainers{app}"),
        ("of a record that somebody made up", "spec.containers{app}"),
    ],
)
def test_an_event_names_an_init_or_ephemeral_container_as_the_kubelet_does(
    kind: str, path: str
) -> None:
    api = kubeevents.Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash(containerKind=kind)))
    (event,) = api.events.values()
    assert event["involvedObject"]["fieldPath"] == path


def test_a_cut_dump_says_why() -> None:
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": "maxSize", "limit": 4}
    api = kubeevents.Api()
    asyncio.run(events.Events(api, "node1").dumped(crash))
    (event,) = api.events.values()
    assert event["reason"] == "CoreDumpTruncated"
    assert event["message"].endswith("cut short: maxSize")


def test_a_loop_that_is_only_counted_says_how_often() -> None:
    crash = dumps.make()[1]
    fold = crash_loop.Fold((crash_loop.of(crash),), 25)
    counting = crash_loop.counting(crash, fold, crash.raw["time"], 1)
    assert events.reason_of(counting) == "CoreDumpSkipped"
    assert "died of SIGSEGV 25 times more in a crash loop" in events.describe(counting)
    assert events.repeats(counting) == events.repeats(crash)


def test_a_core_that_the_quota_refuses_is_told_as_that() -> None:
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": copier.QUOTA, "limit": 0}
    assert events.reason_of(crash) == "CoreDumpQuota"
    assert "its core is not kept" in events.describe(crash)


def test_a_host_crash_is_nobodys_event() -> None:
    api = kubeevents.Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash(namespace="_host")))
    assert api.events == {}


def test_two_programs_without_a_readable_exe_have_an_event_each() -> None:
    api = kubeevents.Api()
    told = events.Events(api, "node1")
    for comm in ("one", "other"):
        crash = dumps.crash(process={"pid": 7, "comm": comm, "exe": None})
        asyncio.run(told.dumped(crash))
    assert len(api.events) == 2
