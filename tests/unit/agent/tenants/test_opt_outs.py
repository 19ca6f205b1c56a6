from __future__ import annotations

import pytest
from support import dumps

from coredumpd.agent.tenants import opt_outs, rules
from coredumpd.formats import policy

UID = "1234-5678"  # of the pod default/web, as `dumps` has it
DISABLED = {"capture": "disabled"}


def pod(namespace="default", static=None, uid=UID, **annotations) -> rules.Pod:
    return rules.Pod(namespace, "web", uid, static, annotations)


def test_a_pods_own_word_is_remembered_when_it_is_gone():
    remembered = opt_outs.OptOuts(policy.Tenants())
    assert not remembered.has(dumps.crash())
    remembered.note(pod(capture="disabled"))
    assert remembered.has(dumps.crash())
    remembered.note(pod())
    assert not remembered.has(dumps.crash())


@pytest.mark.parametrize(("capture", "is_one"), [("enabled", False), ("of", True), ("", True)])
def test_a_word_that_cannot_be_read_is_an_opt_out_as_for_the_handler(capture, is_one):
    remembered = opt_outs.OptOuts(policy.Tenants())
    remembered.note(pod(capture=capture))
    assert remembered.has(dumps.crash()) is is_one


def test_a_static_pods_dump_is_known_by_the_uid_of_its_node_and_its_names():
    remembered = opt_outs.OptOuts(policy.Tenants())
    remembered.note(pod(uid="mirror", static=UID, capture="disabled"))
    assert remembered.has(dumps.crash())
    assert not remembered.has(dumps.crash(podName="other"))


def test_a_pod_of_another_namespace_says_nothing():
    remembered = opt_outs.OptOuts(policy.Tenants())
    remembered.note(pod("evil", capture="disabled"))
    remembered.note(pod("evil", uid="mirror", static=UID, capture="disabled"))
    assert not remembered.has(dumps.crash())


def test_the_last_agents_rules_are_remembered_until_the_pod_is_shown():
    identities = {UID: {"namespace": "default", "namespaceUID": "ns-1"}}
    remembered = opt_outs.OptOuts(policy.Tenants(pods={UID: DISABLED}, identities=identities))
    assert remembered.has(dumps.crash())
    remembered.note(pod())
    assert not remembered.has(dumps.crash())
