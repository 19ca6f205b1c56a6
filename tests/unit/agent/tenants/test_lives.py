from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import dumps
from support.kube import podspecs

from coredumpd import errors
from coredumpd.agent.tenants import lives, rules
from coredumpd.formats import policy

UID = "1234-5678"  # of the pod default/web, as `dumps` has it


class Api:
    """Answers with the namespace `default` that there is now."""

    def __init__(self, namespace: Any) -> None:
        self.namespace = namespace

    async def request(self, method: str, path: str, *args: Any, **named: Any) -> tuple[int, Any]:
        if isinstance(self.namespace, Exception):
            raise self.namespace
        return 200, self.namespace


def learned(namespace: Any, *pods: rules.Pod, last: policy.Tenants | None = None) -> lives.Lives:
    """After it was asked once for each namespace, or refused."""
    seen = lives.Lives(Api(namespace), last or policy.Tenants())

    async def learn() -> None:
        seen.wake.set()
        task = asyncio.create_task(seen.learn(lambda: pods, lambda: None))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(learn())
    return seen


def pod(created_s: float = 2e9, static_uid: str | None = None) -> rules.Pod:
    return rules.Pod("default", "web", UID, static_uid, {}, created_s)


def test_a_pod_is_in_the_namespace_that_is_there_after_it_was_seen() -> None:
    seen = learned(podspecs.namespace("default", "ns-1"), pod())
    assert seen.of_record(dumps.crash()) == "ns-1"
    assert seen.of_pods([pod()]) == {UID: "ns-1"}


def test_a_pod_is_not_in_a_namespace_that_is_younger_than_itself() -> None:
    seen = learned(podspecs.namespace("default", "ns-2"), pod(created_s=0.0))
    assert seen.of_record(dumps.crash()) is None


@given(some.integers(0, 10), some.integers(0, 10), some.integers(0, 10))
def test_of_successive_namespaces_a_pod_is_only_ever_proven_to_be_in_its_own(
    first: int, second: int, pod_s: int
) -> None:
    """One life ends before the next begins; a pod is of the one during which it was created."""
    first, second = sorted((first, second + 11))
    own = "old" if pod_s < second else "new"
    for uid, since in (("old", first), ("new", second)):
        document = podspecs.namespace("default", uid, f"2026-01-01T00:00:{since:02}Z")
        created_s = lives.created_s(document)
        assert created_s is not None
        pod_created_s = created_s - since + pod_s
        read_after = uid == "new" or own == "old"  # the old one is not there after a new pod
        if read_after and lives.is_of(document, pod_created_s):
            assert uid == own


@pytest.mark.parametrize("error", [errors.Unavailable("away"), errors.NotFound("gone")])
def test_a_namespace_that_cannot_be_asked_for_proves_nothing(error: Exception) -> None:
    assert learned(error, pod()).of_record(dumps.crash()) is None


def test_what_the_last_agent_proved_holds() -> None:
    identities = {UID: {"namespace": "default", "namespaceUID": "ns-1"}}
    last = policy.Tenants(identities=identities)
    seen = learned(podspecs.namespace("default", "ns-2"), pod(), last=last)
    assert seen.of_record(dumps.crash()) == "ns-1"


def test_a_record_of_a_pod_in_another_namespace_is_no_dump() -> None:
    seen = learned(podspecs.namespace("default", "ns-1"), pod())
    with pytest.raises(errors.BadRecord, match="is in default"):
        seen.of_record(dumps.crash(namespace="victim"))


def test_a_static_pod_is_known_by_its_names_and_its_hash_together() -> None:
    seen = learned(podspecs.namespace("default", "ns-1"), pod(static_uid="hash"))
    assert seen.of_record(dumps.crash(podUID="hash")) == "ns-1"
    assert seen.of_record(dumps.crash(podUID="hash", podName="other")) is None
    assert seen.of_record(dumps.crash(podUID="hash", namespace="victim")) is None
    assert seen.of_record(dumps.crash(podUID="hash", namespace=None, podName=None)) is None
