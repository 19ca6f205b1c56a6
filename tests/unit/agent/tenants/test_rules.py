from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.agent.tenants import policy_file, rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import policy

GIB = 1024**3
DEFAULT = dump_annotations.Rules(enabled=True, maxSize=8 * GIB)


def pod(namespace: str, name: str, **said: str) -> rules.Pod:
    named = {key.replace("_", "-"): value for key, value in said.items()}
    return rules.Pod(namespace, name, f"uid-{name}", frozenset([f"uid-{name}"]), named)


def obeyed(written: policy.Tenants, pod_uid: str, namespace: str | None) -> policy.Policy:
    snapshot = policy.Policy()
    snapshot.namespaces, snapshot.pods = written.namespaces, written.pods  # type: ignore[assignment]
    snapshot.narrow(pod_uid, namespace)
    return snapshot


def test_nothing_is_written_of_those_for_whom_the_clusters_settings_hold() -> None:
    assert rules.decide(DEFAULT, {}, [pod("a", "one")]) == (policy.Tenants(), [])


def test_a_pod_that_is_known_by_its_cgroup_alone_gets_its_namespaces_rules() -> None:
    written, _ = rules.decide(DEFAULT, {"a": {"capture": "disabled"}}, [pod("a", "one")])
    assert obeyed(written, "uid-one", None).capture == "disabled"


def test_a_pod_younger_than_the_snapshot_gets_its_namespaces_rules() -> None:
    written, _ = rules.decide(DEFAULT, {"a": {"max-size": "1Gi"}}, [])
    assert obeyed(written, "uid-new", "a").maxSize == GIB
    assert obeyed(written, "uid-new", "b").maxSize == 8 * GIB


said = some.fixed_dictionaries(
    {},
    optional={
        "capture": some.sampled_from(["enabled", "disabled", "typo"]),
        "max-size": some.sampled_from(["0", "1Gi", "8Gi", "64Gi", "typo"]),
    },
)


@given(some.dictionaries(some.sampled_from("abc"), said), some.sampled_from("abc"), said)
def test_the_handler_obeys_exactly_what_namespace_and_pod_say(namespaces, place, own):
    one = rules.Pod(place, "one", "u", frozenset(["u", "mirror"]), own)
    quiet = rules.Pod(place, "two", "v", frozenset(["v"]), {})
    written, _ = rules.decide(DEFAULT, namespaces, [one, quiet], ["b"])
    outer, _ = dump_annotations.of_namespace(namespaces.get(place, {}), DEFAULT)
    expected, _ = dump_annotations.of_pod(own, outer)
    for uid, capture in (("u", expected), ("mirror", expected), ("v", outer), ("new", outer)):
        found = obeyed(written, uid, place)
        assert (found.capture == "enabled", found.maxSize) == (capture.enabled, capture.maxSize)
        assert found.quotaReached == (place == "b")


def test_what_is_wrong_with_a_pods_annotation_is_told_with_the_pod() -> None:
    one = pod("a", "one", max_size="2GB")
    _, wrong = rules.decide(DEFAULT, {}, [one, pod("a", "two")])
    ((about, problem),) = wrong
    assert about is one
    assert problem.endswith("8Gi stands")


@pytest.mark.parametrize("text", ["{", '{"namespaces": 7}', "[]", '{"pods": "x"}'])
def test_a_last_snapshot_that_cannot_be_read_leaves_no_tenants(tmp_path, text):
    (tmp_path / "policy.json").write_text(text)
    assert policy_file.read_tenants(tmp_path) == policy.Tenants()


def test_who_wants_sealing_is_known_by_name() -> None:
    said = {"a": {"encrypt-to": "keys", "max-size": "1Gi"}, "b": {"encrypt-to": "Typo!"}, "c": {}}
    assert rules.sealed_to(None, said) == {"a": "keys", "b": "Typo!"}
    assert rules.sealed_to({"a": "keys"}, {"a": {}}) == {}


def test_a_deleted_namespace_is_remembered_to_have_wanted_sealing_for_a_while() -> None:
    assert rules.sealed_to({"a": "keys"}, {"b": {}}) == {"a": "keys"}
    many = {f"n{number}": "keys" for number in range(300)}
    kept = rules.sealed_to(many, {"z": {"encrypt-to": "keys"}})
    assert list(kept) == [*list(many)[-rules.GONE_MAX :], "z"]
