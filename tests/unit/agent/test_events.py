from __future__ import annotations

import asyncio

import pytest
from support import dumps
from support.kube import kubeevents

from coredumpd.agent import events
from coredumpd.formats import event_reasons, event_report


class Server:
    def __init__(self) -> None:
        self.reports: list[event_report.Report] = []

    def report(self, report: event_report.Report) -> None:
        self.reports.append(report)


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


def test_the_event_of_a_sandbox_is_about_its_pod_and_no_field_of_it() -> None:
    api = kubeevents.Api()
    asyncio.run(events.Events(api, "node1").dumped(dumps.crash(container="POD")))
    (event,) = api.events.values()
    assert "fieldPath" not in event["involvedObject"]


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


def test_with_a_server_every_event_on_a_pod_goes_to_it_and_none_about_a_dump() -> None:
    async def write(writer: events.Events) -> None:
        for _ in range(2):
            await writer.pod("shop", "web-0", "1234", event_reasons.POLICY, "cannot be obeyed")
        await writer.dumped(dumps.crash())  # the server has committed it, and says so itself
        await writer.node(event_reasons.STUCK, "the server is away")

    api, server = kubeevents.Api(), Server()
    asyncio.run(write(events.Events(api, "node1", server)))
    assert [(one.namespace, one.pod, one.reason) for one in server.reports] == [
        ("shop", "web-0", "CoreDumpPolicy")
    ]
    assert [event["involvedObject"]["kind"] for event in api.events.values()] == ["Node"]
