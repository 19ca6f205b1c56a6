from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support import dumps
from support.kube import podspecs

from coredumpd.agent.shipping import pod_facts
from coredumpd.formats import record as records

UID = "1234-5678"  # as `dumps` has it
labels = some.dictionaries(some.text(max_size=400), some.text(max_size=400), max_size=200)


@settings(max_examples=50)
@given(labels, some.integers(0, 3000))
def test_however_many_labels_a_pod_has_its_record_can_be_read_back(
    labels: dict[str, str], more: int
) -> None:
    pod = podspecs.pod("default", "web", UID)
    pod["metadata"]["labels"] = labels | {f"label-{number}": "x" * 63 for number in range(more)}
    record = pod_facts.confirmed(dumps.crash(), pod, "node1")
    read = records.CrashRecord.parse(record.encode())
    kept, cut = read.raw["podLabels"], read.raw.get("podLabelsCut", 0)
    assert len(kept) + cut == len(pod["metadata"]["labels"])
    assert len(kept) <= pod_facts.LABELS_MAX
    assert kept.items() <= pod["metadata"]["labels"].items()


def test_a_few_labels_are_all_kept_and_nothing_says_that_some_are_cut() -> None:
    pod = podspecs.pod("default", "web", UID)
    pod["metadata"]["labels"] = {"b": "2", "a": "1"}
    raw = pod_facts.confirmed(dumps.crash(), pod, "node1").raw
    assert raw["podLabels"] == {"a": "1", "b": "2"}
    assert "podLabelsCut" not in raw


@pytest.mark.parametrize(
    ("field", "kind"),
    [("containers", None), ("initContainers", "init"), ("ephemeralContainers", "ephemeral")],
)
def test_a_record_tells_an_init_or_ephemeral_container_from_an_ordinary_one(field, kind) -> None:
    pod = podspecs.pod("default", "web", UID)
    pod["spec"] |= {"containers": [{"name": "other"}], field: [{"name": "app"}]}
    assert pod_facts.confirmed(dumps.crash(), pod, "node1").container_kind == kind


@pytest.mark.parametrize(
    ("owner", "recorded"),
    [
        ({"kind": "ReplicaSet", "name": "web-1"}, {"kind": "ReplicaSet", "name": "web-1"}),
        ({"kind": "K" * 100_000, "name": "web-1"}, {"kind": "K" * 63, "name": "web-1"}),
        ({"kind": "ReplicaSet", "name": "N" * 100_000}, None),
    ],
)
def test_an_owner_as_long_as_a_tenant_likes_is_cut_or_left_out(owner, recorded) -> None:
    pod = podspecs.pod("default", "web", UID)
    pod["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    assert pod_facts.confirmed(dumps.crash(), pod, "node1").raw["owner"] == recorded


def test_a_crash_in_the_pods_own_cgroup_is_its_sandboxs_and_no_other_pods() -> None:
    crash = dumps.crash(namespace=None, podName=None, container=None, containerID=None, podUID=UID)
    named = pod_facts.named(crash, podspecs.pod("default", "web", UID), "node1")
    assert named is not None
    assert str(named.key()) == f"default/{UID}/POD/{crash.id}"
    assert pod_facts.named(crash, podspecs.pod("default", "web", "other"), "node1") is None


@pytest.mark.parametrize(
    ("hash", "namespace", "name", "is_crashed"),
    [
        (UID, "default", "web", True),
        (UID, "evil", "web", False),
        (UID, "default", "thief", False),
        ("other", "default", "web", False),
    ],
)
def test_a_mirror_is_the_crashed_pod_by_the_names_that_the_runtime_recorded(
    hash: str, namespace: str, name: str, is_crashed: bool
) -> None:
    mirror = podspecs.mirror(hash, namespace, name)
    assert pod_facts.is_crashed(dumps.crash(), mirror) is is_crashed
    nameless = dumps.crash(namespace=None, podName=None)
    assert not pod_facts.is_crashed(nameless, mirror)
