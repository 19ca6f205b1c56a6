"""Who may read whose memory: RBAC of a real kube-apiserver decides, for every request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import NAMESPACE, OTHER_NAMESPACE, SERVICE, TENANT_NAMESPACE
from tests.e2e.support.coredump_endpoints import API
from tests.e2e.support.direct import Server
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target

ENDPOINTS = f"{API}/namespaces/{OTHER_NAMESPACE}/coredumpendpoints"


@pytest.mark.parametrize(
    "path", [ENDPOINTS, f"{ENDPOINTS}/x", f"{ENDPOINTS}/x/dump", f"{API}/coredumpendpoints"]
)
def test_a_tenant_is_refused_outside_the_own_namespace(tenant: Kubectl, path: str) -> None:
    assert "Forbidden" in tenant.refused("get", f"--raw={path}")


def test_a_tenant_cannot_create_an_endpoint_in_anothers_namespace(tenant: Kubectl) -> None:
    manifest = f"""
        apiVersion: coredump.fujitsu.com/v1alpha1
        kind: CoredumpEndpoint
        metadata: {{name: x, namespace: {OTHER_NAMESPACE}}}
        spec: {{podUID: some-uid}}
    """
    assert "forbidden" in tenant.refused("create", "-f", "-", input=manifest).lower()


@pytest.mark.parametrize("path", [f"{ENDPOINTS}/x/dump", f"{API}/coredumpendpoints"])
def test_the_anonymous_user_is_refused(target: Target, tenant: Kubectl, path: str) -> None:
    assert target.anonymous_status(path) in (401, 403)


def test_the_role_view_sees_that_there_are_dumps_and_reads_none(
    target: Target, admin: Kubectl, tenant: Kubectl
) -> None:
    viewer = target.user("victor")
    words = ("--clusterrole=view", "--user=victor", "-n", TENANT_NAMESPACE)
    admin("create", "rolebinding", "victor", *words)
    try:
        viewer("get", "coredumpendpoints", "-n", TENANT_NAMESPACE)
        path = f"{API}/namespaces/{TENANT_NAMESPACE}/coredumpendpoints/x/dump"
        assert "Forbidden" in viewer.refused("get", f"--raw={path}")
        assert "Forbidden" in viewer.refused("get", f"--raw={path.replace('/dump', '/proxy')}")
    finally:
        admin("delete", "rolebinding", "victor", "-n", TENANT_NAMESPACE)


def test_abac_governs_as_well_as_rbac(target: Target, tenant: Kubectl) -> None:
    if target.own is None:
        pytest.skip("a cluster that is not ours has no ABAC policy for abby")
    abby = target.user("abby")
    abby("get", "coredumpendpoints", "-n", TENANT_NAMESPACE)
    dump = f"{API}/namespaces/{TENANT_NAMESPACE}/coredumpendpoints/nobody/dump"
    assert "NotFound" in abby.refused("get", f"--raw={dump}")
    assert "Forbidden" in abby.refused(
        "get", f"--raw={dump.replace(TENANT_NAMESPACE, 'kube-system')}"
    )
    assert "Forbidden" in abby.refused(
        "delete", "coredumpendpoint", "nobody", "-n", TENANT_NAMESPACE
    )


def test_a_right_to_backtraces_is_no_right_to_dumps(
    target: Target, admin: Kubectl, tenant: Kubectl
) -> None:
    reader = target.user("bertha")
    there = ("-n", TENANT_NAMESPACE)
    what = "--resource=coredumps.coredump.fujitsu.com/backtrace"
    admin("create", "role", "backtraces", "--verb=get", what, *there)
    admin("create", "rolebinding", "backtraces", "--role=backtraces", "--user=bertha", *there)
    one = f"{API}/namespaces/{TENANT_NAMESPACE}/coredumps/nobody"
    try:
        assert "NotFound" in reader.refused("get", f"--raw={one}/backtrace")
        for other in ("/dump", "/proxy", ""):
            assert "Forbidden" in reader.refused("get", f"--raw={one}{other}")
    finally:
        admin("delete", "rolebinding/backtraces", "role/backtraces", *there)


def test_a_token_counts_only_for_the_audience_it_was_made_for(
    target: Target, admin: Kubectl, tenant: Kubectl, installation: Path
) -> None:
    if target.own is None:
        pytest.skip("the pods of a cluster that is not ours are not reached from this machine")
    account = f"/api/v1/namespaces/{TENANT_NAMESPACE}/serviceaccounts/default/token"

    def token(audiences: list[str]) -> str:
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": audiences},
        }
        made = admin("create", f"--raw={account}", "-f", "-", input=json.dumps(asked))
        return str(json.loads(made)["status"]["token"])

    pods = admin.json(
        "get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=coredumpd-server"
    )
    authority = installation.parent / "pki/ca.crt"
    server = Server(pods["items"][0]["status"]["podIP"], f"{SERVICE}.{NAMESPACE}.svc", authority)
    assert server.ask("GET", ENDPOINTS, token=token(["vault"]))[0] == 401
    assert server.ask("GET", ENDPOINTS, token=token([]))[0] == 403  # known, and may not
