"""The requests to Kubernetes that roles and this package make; `client.Client` answers them.

Tested in: tests/unit/kube/test_client.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

Headers = Mapping[str, str]  # of a request

JSON: Headers = {"Accept": "application/json", "Content-Type": "application/json"}
# A list as kubectl prints it ("Receiving resources as Tables" of Kubernetes' API concepts).
TABLE: Headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
MERGE_PATCH: Headers = {"Content-Type": "application/merge-patch+json"}


class Requests(Protocol):
    """One request, one answer."""

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Any = None,
        headers: Headers = JSON,
        timeout_s: float = 15.0,
    ) -> tuple[int, Any]:
        """See `client.Client.request`: its answers and its errors."""


class Api(Requests, Protocol):
    """Watches, too."""

    def watch(
        self, path: str, *, query: Any = None, timeout_s: int = 300
    ) -> AsyncIterator[dict[str, Any]]:
        """See `client.Client.watch`."""
