"""What the server asks of Kubernetes about pods and namespaces; nothing, when standing alone."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.apiserver.auth import interface

_UIDS_CACHE_S = 5.0
_NAMESPACES_MAX = 256
_TIMEOUT_S = 5.0


class Cluster(Protocol):
    """All raise Unavailable when Kubernetes does not answer."""

    async def check_namespace(self, namespace: str) -> None:
        """Raises NotFound, or Forbidden for a namespace that is being deleted."""

    async def pod_uid(self, namespace: str, name: str) -> str | None:
        """The living pod's uid."""

    async def pod_uids(self, namespace: str) -> dict[str, str] | None:
        """uid by name of every living pod, some seconds old; None when it cannot be known."""


class KubeCluster:
    """Asks kube-apiserver."""

    def __init__(self, kube: interface.Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._uids: dict[str, tuple[float, dict[str, str] | None]] = {}

    async def check_namespace(self, namespace: str) -> None:
        """See `Cluster`."""
        path = f"/api/v1/namespaces/{_quote(namespace)}"
        try:
            _, document = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
        except errors.NotFound as error:
            raise errors.NotFound(f'namespaces "{namespace}" not found') from error
        except errors.Forbidden as error:
            raise errors.Unavailable(f"the server may not read namespaces: {error}") from error
        if (document.get("status") or {}).get("phase") == "Terminating":
            raise errors.Forbidden(
                f"unable to create new content in namespace {namespace}: it is being terminated"
            )

    async def pod_uid(self, namespace: str, name: str) -> str | None:
        """See `Cluster`."""
        path = f"/api/v1/namespaces/{_quote(namespace)}/pods/{_quote(name)}"
        try:
            _, document = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
        except errors.NotFound:
            return None
        except errors.Forbidden as error:
            raise errors.Unavailable(f"the server may not read pods: {error}") from error
        return str(document["metadata"]["uid"])

    async def pod_uids(self, namespace: str) -> dict[str, str] | None:
        """See `Cluster`."""
        until, uids = self._uids.get(namespace, (0.0, None))
        if self._clock() < until:
            return uids
        path = f"/api/v1/namespaces/{_quote(namespace)}/pods"
        try:
            _, document = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
            pods: list[dict[str, Any]] = document["items"]
            uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
        except errors.CoredumpdError:
            uids = None  # status.podExists is left out: unknown is not "no"
        while len(self._uids) >= _NAMESPACES_MAX:
            del self._uids[next(iter(self._uids))]
        self._uids[namespace] = (self._clock() + _UIDS_CACHE_S, uids)
        return uids


class NoCluster:
    """Without Kubernetes every namespace is there and nothing is known about pods."""

    async def check_namespace(self, namespace: str) -> None:
        """See `Cluster`."""

    async def pod_uid(self, namespace: str, name: str) -> str | None:  # noqa: ARG002
        """See `Cluster`."""
        return None

    async def pod_uids(self, namespace: str) -> dict[str, str] | None:  # noqa: ARG002
        """See `Cluster`."""
        return None


def _quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")
