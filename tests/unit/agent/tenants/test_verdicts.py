from __future__ import annotations

from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.agent.tenants import verdicts
from coredumpd.formats import policy

UID = "1234-5678"  # of the pod default/web, as `dumps` has it
DISABLED = {"capture": "disabled"}
WEB = {UID: {"namespace": "default", "namespaceUID": "ns-1"}}


@pytest.mark.parametrize(
    ("tenants", "default", "expected"),
    [
        (policy.Tenants(encryptTo={}), "enabled", False),
        (policy.Tenants(encryptTo={}), "disabled", True),
        (policy.Tenants({"default": DISABLED}, encryptTo={}), "enabled", True),
        (policy.Tenants({"other": DISABLED}, encryptTo={}), "enabled", False),
        (policy.Tenants(pods={UID: DISABLED}, encryptTo={}, identities=WEB), "enabled", True),
        (
            policy.Tenants({"default": DISABLED}, {UID: {"capture": "enabled"}}, {}, WEB),
            "enabled",
            False,
        ),
        (policy.Tenants(encryptTo={}, unlisted="disabled"), "enabled", True),
        (policy.Tenants(encryptTo={}, identities=WEB, unlisted="disabled"), "enabled", False),
    ],
    ids=str,
)
def test_a_dump_is_refused_by_its_pods_rule_else_its_namespaces_else_the_settings(
    tenants: policy.Tenants, default: str, expected: bool
) -> None:
    assert verdicts.refuses(tenants, default, dumps.crash()) is expected


def test_the_rule_of_a_pod_that_claims_the_uid_from_another_namespace_does_not_count() -> None:
    identities = {UID: {"namespace": "evil", "namespaceUID": "ns-9"}}
    tenants = policy.Tenants(pods={UID: DISABLED}, encryptTo={}, identities=identities)
    assert not verdicts.refuses(tenants, "enabled", dumps.crash())


def test_before_kubernetes_was_asked_nothing_is_decided_but_of_the_hosts_own_processes() -> None:
    with pytest.raises(errors.Unavailable, match="of namespace default may be kept"):
        verdicts.refuses(policy.Tenants(), "enabled", dumps.crash())
    assert not verdicts.refuses(policy.Tenants(), "enabled", dumps.crash(namespace="_host"))


@pytest.mark.parametrize(
    ("tenants", "default", "of_pod", "of_namespace", "expected"),
    [
        (policy.Tenants(), "enabled", {}, {}, None),
        (policy.Tenants({"default": {"capture": "enabled"}}), "disabled", {}, {}, None),
        (policy.Tenants({"default": DISABLED}), "enabled", {}, DISABLED, "of its namespace"),
        (policy.Tenants(pods={UID: DISABLED}), "enabled", DISABLED, {}, "of its pod"),
        (policy.Tenants(pods={UID: DISABLED}), "enabled", {"capture": "of"}, {}, "of its pod"),
        (policy.Tenants(), "disabled", {}, {}, "(policy.capture)"),
        (policy.Tenants({"default": DISABLED}), "enabled", {}, {}, "no room"),
    ],
    ids=str,
)
def test_the_rule_that_disables_captures_of_a_pod_is_named(
    tenants: policy.Tenants, default: str, of_pod: Any, of_namespace: Any, expected: str | None
) -> None:
    text = verdicts.rule_against(tenants, default, "default", UID, of_pod, of_namespace)
    assert text is None if expected is None else expected in (text or "")


def test_what_a_namespace_sealed_to_is_known_by_its_uid_alone() -> None:
    tenants = policy.Tenants(encryptTo={"default": "keys"}, identities=WEB)
    assert verdicts.sealed_before(tenants, "default", "ns-1") == "keys"
    open_ = policy.Tenants(encryptTo={}, identities=WEB)
    assert verdicts.sealed_before(open_, "default", "ns-1") is None


@pytest.mark.parametrize(
    ("tenants", "uid"),
    [
        (policy.Tenants(), "ns-1"),
        (policy.Tenants(encryptTo={}), "ns-1"),
        (policy.Tenants(encryptTo={}, identities=WEB), "ns-2"),
        (policy.Tenants(encryptTo={"default": "keys"}), None),
    ],
    ids=str,
)
def test_an_unknown_life_of_a_namespace_has_no_answer(
    tenants: policy.Tenants, uid: str | None
) -> None:
    with pytest.raises(errors.Unavailable, match="wants its dumps encrypted"):
        verdicts.sealed_before(tenants, "default", uid)
