"""The tenant that a request counts for: a person, or all service accounts of a namespace."""

from __future__ import annotations

from coredumpd.apiserver.auth import interface

_ACCOUNT = "system:serviceaccount:"
_MASTERS = "system:masters"
_KUBE_SYSTEM = f"{_ACCOUNT}kube-system:"
# They act for everybody: namespaces cannot end, nor dependents be removed, while these are refused.
_CONTROL_PLANE = (
    "system:aggregator",
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
)


def tenant(caller: interface.Caller) -> str:
    """The holder of the share: making more service accounts makes no more shares."""
    if caller.user.startswith(_ACCOUNT):
        namespace = caller.user.removeprefix(_ACCOUNT).partition(":")[0]
        return f"{_ACCOUNT}{namespace}"
    return caller.user


def is_system(caller: interface.Caller) -> bool:
    """Is it the control plane, or an administrator of the cluster?

    API Priority and Fairness exempts the same group; kube-controller-manager runs the namespace
    controller and the garbage collector as itself or by service accounts of kube-system.
    """
    return (
        _MASTERS in caller.groups
        or caller.user in _CONTROL_PLANE
        or caller.user.startswith(_KUBE_SYSTEM)
    )
