"""Is this the end of the installation, or only of this process? Asked once, on SIGTERM."""

from __future__ import annotations

import logging
import os

from coredumpd import errors
from coredumpd.kube import client

_TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


class DaemonSet:
    """The DaemonSet this pod belongs to."""

    def __init__(self, path: str, uid: str) -> None:
        self.path = path
        self.uid = uid


async def find(api: client.Client) -> DaemonSet | None:
    """Our DaemonSet, from the owner of the pod named by POD_NAMESPACE and POD_NAME.

    None when this is not a DaemonSet's pod; Unavailable passes.
    """
    namespace = os.environ.get("POD_NAMESPACE") or client.own_namespace()
    pod_name = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME")
    if not namespace or not pod_name:
        return None
    try:
        _, pod = await api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod_name}")
    except (errors.NotFound, errors.Forbidden) as error:
        _log.warning("the agent does not find its own pod: %s", error)
        return None
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner["kind"] == "DaemonSet":
            path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{owner['name']}"
            return DaemonSet(path, owner["uid"])
    return None


async def uninstalled(api: client.Client, ours: DaemonSet) -> bool:
    """Is our DaemonSet being deleted, or gone?

    Its rights gone counts as gone: `kubectl delete -f` takes the RBAC objects away first. Another
    DaemonSet under its name does not: the next agent is coming. Neither does an API that does not
    answer: a handler left in place works alone, and `agent uninstall` is there for people.
    """
    try:
        _, there = await api.request("GET", ours.path, timeout_s=_TIMEOUT_S)
    except (errors.NotFound, errors.Unauthorized, errors.Forbidden) as error:
        _log.info("the DaemonSet is gone: %s", error)
        return True
    except errors.CoredumpdError as error:
        _log.warning("is this an uninstallation? unknown, so the handler stays: %s", error)
        return False
    meta = there["metadata"]
    return meta["uid"] == ours.uid and bool(meta.get("deletionTimestamp"))
