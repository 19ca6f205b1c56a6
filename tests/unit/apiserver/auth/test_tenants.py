from __future__ import annotations

import pytest

from coredumpd.apiserver.auth import interface, tenants


def test_the_service_accounts_of_a_namespace_are_one_tenant():
    one, two, other = (
        tenants.tenant(interface.Caller(f"system:serviceaccount:{name}"))
        for name in ("team-a:x", "team-a:y", "team-b:x")
    )
    assert one == two != other
    assert tenants.tenant(interface.Caller("alice")) == "alice"


@pytest.mark.parametrize(
    ("caller", "is_system"),
    [
        (interface.Caller("admin", groups=("system:masters",)), True),
        (interface.Caller("system:kube-controller-manager"), True),
        (interface.Caller("system:serviceaccount:kube-system:namespace-controller"), True),
        (interface.Caller("system:aggregator"), True),
        (interface.Caller("system:anonymous", groups=("system:unauthenticated",)), False),
        (interface.Caller("system:node:n1", groups=("system:nodes",)), False),
        (interface.Caller("system:serviceaccount:kube-systemx:a"), False),
        (interface.Caller("system:mastersx"), False),
    ],
)
def test_only_the_control_plane_and_administrators_have_reserved_places(caller, is_system):
    assert tenants.is_system(caller) is is_system
