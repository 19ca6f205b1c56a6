from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.agent.tenants import policy_file, rules
from coredumpd.formats import annotations as dump_annotations
from coredumpd.formats import names, policy
from coredumpd.settings import sections

GIB = 1024**3
DEFAULT = dump_annotations.Rules(enabled=True, maxSize=8 * GIB)


def pod(namespace: str, name: str, **said: str) -> rules.Pod:
    named = {key.replace("_", "-"): value for key, value in said.items()}
    return rules.Pod(namespace, name, f"uid-{name}", None, named)


def decided(*arguments: Any) -> policy.Tenants:
    return rules.decide(DEFAULT, *arguments).tenants


def obeyed(
    written: policy.Tenants, pod_uid: str, namespace: str | None, name: str | None = None
) -> policy.Policy:
    settings = dataclasses.asdict(sections.PolicySettings())
    snapshot = policy.parse(policy.encode(settings, "node1", written))
    snapshot.narrow(pod_uid, namespace, name)
    return snapshot


def test_nothing_is_written_of_those_for_whom_the_clusters_settings_hold() -> None:
    written = decided({}, [pod("a", "one")])
    assert (written.namespaces, written.pods, written.unlisted) == ({}, {}, "enabled")
    assert written.identities == {"uid-one": {"namespace": "a", "namespaceUID": None}}


def test_a_pod_that_is_known_by_its_cgroup_alone_gets_its_namespaces_rules() -> None:
    written = decided({"a": {"capture": "disabled"}}, [pod("a", "one")])
    assert obeyed(written, "uid-one", None).capture == "disabled"


def test_a_pod_younger_than_the_snapshot_gets_its_namespaces_rules() -> None:
    written = decided({"a": {"max-size": "1Gi"}}, [])
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
    one = rules.Pod(place, "one", "u", "hash", own)
    quiet = rules.Pod(place, "two", "v", None, {})
    written = decided(namespaces, [one, quiet], ["b"])
    outer, _ = dump_annotations.of_namespace(namespaces.get(place, {}), DEFAULT)
    expected, _ = dump_annotations.of_pod(own, outer)
    for uid, capture in (("u", expected), ("hash", expected), ("v", outer), ("new", outer)):
        found = obeyed(written, uid, place, "one")
        assert (found.capture == "enabled", found.maxSize) == (capture.enabled, capture.maxSize)
        assert found.quotaReached == (place == "b")


def test_what_is_wrong_with_a_pods_annotation_is_told_with_the_pod() -> None:
    one = pod("a", "one", max_size="2GB")
    ((about, problem),) = rules.decide(DEFAULT, {}, [one, pod("a", "two")]).problems
    assert about is one
    assert problem.endswith("8Gi stands")


@pytest.mark.parametrize("text", ["{", '{"namespaces": 7}', "[]", '{"pods": "x"}'])
def test_a_last_snapshot_that_cannot_be_read_leaves_no_tenants(tmp_path, text):
    (tmp_path / "policy.json").write_text(text)
    assert policy_file.read_tenants(tmp_path) == policy.Tenants()


def test_who_wants_sealing_is_known_by_name() -> None:
    said = {"a": {"encrypt-to": "keys", "max-size": "1Gi"}, "b": {"encrypt-to": "Typo!"}, "c": {}}
    assert rules.sealed_to(None, said) == {"a": "keys", "b": ""}
    assert rules.sealed_to({"a": "keys"}, {"a": {}}) == {}


def test_a_deleted_namespace_is_remembered_to_have_wanted_sealing_for_a_while() -> None:
    assert rules.sealed_to({"a": "keys"}, {"b": {}}) == {"a": "keys"}
    many = {f"n{number}": "keys" for number in range(300)}
    kept = rules.sealed_to(many, {"z": {"encrypt-to": "keys"}})
    assert list(kept) == [*list(many)[-rules.GONE_MAX :], "z"]


@given(said, said, some.sampled_from(["victim", "hash", "uid-thief"]))
def test_what_a_pod_says_changes_nothing_for_a_pod_of_another_namespace_or_name(
    own: dict[str, str], victims: dict[str, str], hash: str
) -> None:
    """Whichever uid it claims: a victim's, a static pod's, its own."""
    victim = rules.Pod("b", "web", "victim", None, victims)
    static = rules.Pod("kube-system", "etcd", "mirror", "hash", victims)
    thief = rules.Pod("a", "thief", "uid-thief", hash, own)
    twin = rules.Pod("a", "twin", "uid-twin", hash, own)
    alone, crowd = decided({}, [victim, static]), decided({}, [thief, victim, static, twin])
    for uid, namespace, name in (
        ("victim", "b", "web"),
        ("victim", None, None),
        ("hash", "kube-system", "etcd"),
        ("hash", None, None),
        ("elsewhere", "b", "new"),
    ):
        before, after = (obeyed(one, uid, namespace, name) for one in (alone, crowd))
        assert (before.capture, before.maxSize) == (after.capture, after.maxSize)


def test_a_uid_that_is_a_pods_of_another_namespace_has_no_rules_of_its_own() -> None:
    written = decided({}, [pod("a", "one", capture="disabled")])
    assert obeyed(written, "uid-one", "a").capture == "disabled"
    assert obeyed(written, "uid-one", "b").capture == "enabled"


def test_a_pods_namespace_is_recorded_by_its_uid_and_a_static_pods_by_its_names() -> None:
    mirror = rules.Pod("kube-system", "etcd", "mirror", "hash", {})
    lives = {"mirror": "ns-1", "uid-one": "ns-2"}
    written = decided({}, [mirror, pod("a", "one")], [], lives)
    found = obeyed(written, "uid-one", "a")
    assert found.namespace_uid("hash", "kube-system", "etcd") == "ns-1"
    assert found.namespace_uid("hash", "kube-system", "other") is None
    assert found.namespace_uid("hash", "a", "etcd") is None
    assert found.namespace_uid("uid-one", "a", "one") == "ns-2"
    assert found.namespace_uid("uid-one", "b", "one") is None


def test_of_more_pods_than_have_room_the_largest_namespace_is_denied_and_no_other() -> None:
    crowd = [pod("loud", f"p{number}") for number in range(rules.PODS_MAX * 2)]
    decision = rules.decide(DEFAULT, {}, [*crowd, pod("calm", "one", max_size="1Gi")])
    written = decision.tenants
    assert decision.denied_pods == rules.PODS_MAX + 1
    assert len(written.identities) == rules.PODS_MAX
    assert obeyed(written, "uid-one", "calm").maxSize == GIB
    listed = {uid for uid in written.identities if uid != "uid-one"}
    left_out = next(one.uid for one in crowd if one.uid not in listed)
    assert obeyed(written, left_out, "loud").capture == "disabled"
    assert obeyed(written, listed.pop(), "loud").capture == "enabled"
    assert obeyed(written, "uid-new", "calm").capture == "enabled"


def test_of_more_namespaces_than_have_room_those_of_this_node_are_listed_and_the_rest_denied() -> (
    None
):
    many = {f"n{number:05}": {"capture": "disabled"} for number in range(rules.NAMESPACES_MAX + 5)}
    own = {"z": {"max-size": "1Gi"}}
    decision = rules.decide(DEFAULT, many | own, [pod("z", "one"), pod("calm", "two")])
    written = decision.tenants
    assert (len(written.namespaces), decision.denied_namespaces) == (rules.NAMESPACES_MAX, 6)
    assert obeyed(written, "uid-new", "z").maxSize == GIB
    assert obeyed(written, "uid-two", "calm").capture == "enabled"
    assert obeyed(written, "uid-new", max(many)).capture == "disabled"
    assert obeyed(written, "uid-new", None).capture == "disabled"


def test_the_longest_rules_that_tenants_can_write_fit_into_a_policy() -> None:
    """In the policy that the handler reads, and in the shipper's, which has more spaces."""
    label, name = "n" * 63, ".".join(["p" * 63] * 3) + "." + "p" * 60
    crowd = [
        rules.Pod(label[:57] + f"{number:06}", name, f"{number:036}", "h" * 128, {"capture": "x"})
        for number in range(rules.PODS_MAX)
    ]
    said = {"capture": "disabled", "max-size": "1" * 256, "encrypt-to": name}
    namespaces = {label[:57] + f"{number:06}": said for number in range(rules.NAMESPACES_MAX * 2)}
    lives = {one.uid: "u" * 36 for one in crowd}
    written = decided(namespaces, crowd, list(namespaces), lives)
    written.encryptTo = rules.sealed_to({}, namespaces)
    settings = dataclasses.asdict(sections.PolicySettings())
    data = policy.encode(settings, "n" * 253, written)
    assert len(data) < policy.POLICY_BYTES_MAX
    assert len(policy.parse(data).pods) == 2 * rules.PODS_MAX


@pytest.mark.parametrize(
    "tenants",
    [
        policy.Tenants(),  # nobody was asked yet
        policy.Tenants(encryptTo={"a": ""}),
        policy.Tenants({"a": {"capture": "disabled"}}, {}, {}),
        policy.Tenants({}, {"uid": {"capture": "disabled"}}, {}),
        policy.Tenants({}, {}, {}, {}, "disabled"),
    ],
)
def test_a_cluster_is_free_only_if_nobody_seals_nobody_opts_out_and_all_rules_are_there(
    tenants: policy.Tenants,
) -> None:
    assert not rules.is_free(DEFAULT, tenants)
    assert rules.is_free(DEFAULT, policy.Tenants({"a": {"maxSize": 1}}, {}, {}))
    off = dataclasses.replace(DEFAULT, enabled=False)
    assert not rules.is_free(off, policy.Tenants(encryptTo={}))


@given(some.dictionaries(some.text(max_size=3), some.text(max_size=400)))
def test_no_config_map_that_cannot_exist_is_written(values: dict[str, str]) -> None:
    said = {name: {"encrypt-to": value} for name, value in values.items()}
    written = rules.sealed_to(None, said)
    assert set(written) == set(values)
    assert all(to == "" or names.is_dns_subdomain(to) for to in written.values())
