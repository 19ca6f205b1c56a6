from __future__ import annotations

from typing import Any

import pytest
from support.kube import endings, podspecs

from coredumpd.agent.terminations import statuses

T = 1_790_000_000.0


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (None, "spec.containers{app}"),
        ("init", "spec.initContainers{app}"),
        ("ephemeral", "spec.ephemeralContainers{app}"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_an_end_of_any_kind_of_container_is_read_now_and_after_a_restart(
    kind: str | None, path: str, last: bool
) -> None:
    (end,) = statuses.terminations(endings.pod(139, T, kind=kind, last=last))
    assert (end.code, end.container_id, end.finished_s) == (139, endings.CONTAINER, T)
    assert end.reference() == {
        **{"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "web"},
        **{"uid": "1234-5678", "fieldPath": path},
    }


def test_a_container_that_ended_twice_has_two_ends() -> None:
    pod = endings.pod(139, T)
    (status,) = pod["status"]["containerStatuses"]
    earlier = endings.pod(134, T - 60, container_id="d" * 64)["status"]["containerStatuses"][0]
    status["lastState"] = earlier["state"]
    assert [end.code for end in statuses.terminations(pod)] == [134, 139]


@pytest.mark.parametrize(
    "state",
    [
        {"containerID": ""},
        {"containerID": None},
        {"finishedAt": None},
        {"finishedAt": "yesterday"},
        {"exitCode": None},
    ],
    ids=str,
)
def test_an_end_without_an_id_a_time_or_a_code_is_none(state: dict[str, Any]) -> None:
    assert statuses.terminations(endings.pod(139, T, **state)) == []


def test_a_runtime_that_reports_the_signal_is_believed() -> None:
    (end,) = statuses.terminations(endings.pod(0, T, signal=11))
    assert end.code == 139


def test_a_pod_that_has_not_begun_has_no_ends() -> None:
    assert statuses.terminations(podspecs.pod("default", "web")) == []
    waiting = {"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = podspecs.pod("default", "web")
    pod["status"] = {"containerStatuses": [waiting], "initContainerStatuses": None}
    assert statuses.terminations(pod) == []
