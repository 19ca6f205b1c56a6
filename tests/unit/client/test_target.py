from __future__ import annotations

from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.client import target as targets

ID = "app-20260102t030405z-7-00ff"


def an_object(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": ID, "namespace": "team-a"}, "status": status}


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [
        ("web-0", "pod", "web-0"),
        ("po/web-0", "pod", "web-0"),
        ("Pod/web-0", "pod", "web-0"),
        (dumps.document()["id"], "dump", ID),
        (f"coredump/{ID}", "dump", ID),
        (f"pod/{ID}", "pod", ID),
        ("deploy/shop", "Deployment", "shop"),
        ("statefulsets/db", "StatefulSet", "db"),
        ("ds/agent", "DaemonSet", "agent"),
        ("job/migrate", "Job", "migrate"),
        ("rs/shop-5d4f", "ReplicaSet", "shop-5d4f"),
    ],
)
def test_a_word_names_a_pod_a_dump_or_a_workload(word: str, kind: str, name: str) -> None:
    assert targets.parse(word) == targets.Target(kind, name)


@pytest.mark.parametrize("word", ["", "svc/web", "/web", "pod/", "a/b/c", "Web", "web_0", "-web"])
def test_any_other_word_is_refused_with_what_may_be_written(word: str) -> None:
    with pytest.raises(errors.UsageError) as refused:
        targets.parse(word)
    assert repr(word) in str(refused.value)
    assert "write POD, DUMP, or pod/NAME, deploy/NAME" in str(refused.value)


def test_a_deployments_dumps_are_those_of_its_replica_sets_alone() -> None:
    shop = targets.parse("deploy/shop")
    labels = {"pod-template-hash": "5d4f"}
    own = {"kind": "ReplicaSet", "name": "shop-5d4f"}
    assert shop.selects(an_object(owner=own, podLabels=labels))
    assert not shop.selects(an_object(owner={**own, "name": "shop-x-5d4f"}, podLabels=labels))
    assert not shop.selects(an_object(owner={**own, "kind": "Job"}, podLabels=labels))
    assert not shop.selects(an_object(owner={**own, "name": "shop-None"}))
    assert not shop.selects(an_object())


def test_only_what_the_server_can_select_is_asked_of_it() -> None:
    assert targets.parse("web-0").field_selector == "status.podName=web-0"
    assert targets.parse(ID).field_selector == f"metadata.name={ID}"
    assert targets.parse("deploy/shop").field_selector == ""
