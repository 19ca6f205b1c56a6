from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coredumpd import errors
from coredumpd.agent.node import uninstall

POD = "/api/v1/namespaces/cores/pods/agent-1"
PATH = "/apis/apps/v1/namespaces/cores/daemonsets/agent"
OWNED = {"metadata": {"ownerReferences": [{"kind": "DaemonSet", "name": "agent", "uid": "ds-1"}]}}


class Kube:
    """Objects by path, or the errors that asking for them raises."""

    def __init__(self, **objects: Any) -> None:
        self.objects = {POD: objects.get("pod", OWNED), PATH: objects.get("daemon_set")}

    async def request(self, method: str, path: str, *_: Any, **__: Any) -> tuple[int, Any]:
        answer = self.objects[path]
        if isinstance(answer, list):  # one answer a request
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 200, answer


@pytest.fixture(autouse=True)
def _pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "cores")
    monkeypatch.setenv("POD_NAME", "agent-1")


def ended(kube: Kube | None) -> bool:
    async def stop() -> bool:
        installation = uninstall.Installation(kube, find_every_s=0.01, grace_s=0.2)
        installation.begin()
        try:
            return await installation.ended()
        finally:
            installation.close()

    return asyncio.run(stop())


def daemon_set(uid: str = "ds-1", **metadata: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid} | metadata}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (daemon_set(deletionTimestamp="2026-01-01T00:00:00Z"), True),
        (daemon_set(), False),
        (daemon_set(uid="ds-2", deletionTimestamp="2026-01-01T00:00:00Z"), False),
        (errors.NotFound("gone"), True),
        (errors.Forbidden("its rights are gone"), True),
        (errors.Unauthorized("its account is gone"), True),
        (errors.Unavailable("away"), False),
    ],
)
def test_the_installation_ends_with_its_daemon_set(answer: Any, expected: bool) -> None:
    assert ended(Kube(daemon_set=answer)) is expected


@pytest.mark.parametrize("pod", [{"metadata": {}}, errors.NotFound("no"), errors.Forbidden("no")])
def test_a_pod_of_no_daemon_set_ends_nothing(pod: Any) -> None:
    assert not ended(Kube(pod=pod))


def test_without_kubernetes_nothing_ends() -> None:
    assert not ended(None)


def test_a_daemon_set_is_searched_until_the_api_answers() -> None:
    pods = [errors.Unavailable("away"), errors.Unavailable("away"), OWNED]
    assert ended(Kube(pod=pods, daemon_set=errors.NotFound("gone")))


def test_an_api_that_stays_away_ends_nothing() -> None:
    assert not ended(Kube(pod=errors.Unavailable("away")))
