"""The interfaces of authentication and authorization, and the one they need of Kubernetes.

Tested in: tests/unit/apiserver/auth/test_authorization.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class Caller:
    """An authenticated user. `extra` is sorted, so that equal callers are equal.

    `proxied`: named by the front proxy, on a connection that others share.
    """

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    proxied: bool = dataclasses.field(default=False, compare=False)


class Headers(Protocol):
    """Request headers: `get_list` has one entry per line, `get_all` every (name, value)."""

    def get_list(self, name: str) -> list[str]: ...
    def get_all(self) -> Iterable[tuple[str, str]]: ...


class Kube(Protocol):
    """The Kubernetes API: (status, document), raises errors of `coredumpd.errors`."""

    async def request(
        self, method: str, path: str, body: object = None, *, timeout_s: float = ...
    ) -> tuple[int, Any]: ...


class Authenticator(Protocol):
    """Finds out which user sends a request, by its headers and TLS client certificates.

    `chain` is DER as the peer sent it: its own certificate, then intermediates; () without any.
    Raises Unauthorized if the request proves no user, Unavailable if that cannot be checked now.
    """

    async def authenticate(self, headers: Headers, chain: Sequence[bytes]) -> Caller: ...


@dataclasses.dataclass(frozen=True)
class Attributes:
    """The action of a request, as RBAC names it: on a resource, or on a bare `path`."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def sentence(self, user: str) -> str:
        """The refusal, worded as kube-apiserver words it."""
        if self.path:
            return f'forbidden: User "{user}" cannot {self.verb} path "{self.path}"'
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        scope = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        named = f' "{self.name}"' if self.name else ""
        return (
            f'{self.resource}.{self.group}{named} is forbidden: User "{user}" cannot {self.verb} '
            f'resource "{resource}" in API group "{self.group}" {scope}'
        )


class Authorizer(Protocol):
    """Raises Forbidden if the caller may not do it, Unavailable if that cannot be checked now."""

    async def check(self, caller: Caller, attributes: Attributes) -> None: ...
