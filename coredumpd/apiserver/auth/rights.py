"""What a handler class demands of its callers. A class without a policy does not start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from coredumpd.apiserver.auth import interface

_READS = {"GET": "get", "HEAD": "get"}
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Policy(Protocol):
    """Decides by method, path, its named parts and the query, before a body is read."""

    def attributes(
        self, method: str, path: str, parts: Mapping[str, str], query: Mapping[str, str]
    ) -> interface.Attributes | None:
        """What the caller must be allowed to do; None: nothing, not even to say who they are."""


class Anybody:
    """Probes: they tell nothing, and the kubelet has no credentials."""

    def attributes(
        self,
        method: str,  # noqa: ARG002
        path: str,  # noqa: ARG002
        parts: Mapping[str, str],  # noqa: ARG002
        query: Mapping[str, str],  # noqa: ARG002
    ) -> interface.Attributes | None:
        """See `Policy`."""
        return None


class Path:
    """A non-resource URL: discovery, OpenAPI, metrics, and whatever does not exist."""

    def attributes(
        self,
        method: str,
        path: str,
        parts: Mapping[str, str],  # noqa: ARG002
        query: Mapping[str, str],  # noqa: ARG002
    ) -> interface.Attributes | None:
        """See `Policy`."""
        verb = {**_READS, **_WRITES}.get(method, method.lower())
        return interface.Attributes(verb, path=path)


class Resource:
    """One of our resources; namespace and name are parts of the path."""

    def __init__(self, group: str, version: str, resource: str, subresource: str = "") -> None:
        self._names = {"group": group, "version": version, "resource": resource}
        self._subresource = subresource

    def attributes(
        self,
        method: str,
        path: str,  # noqa: ARG002
        parts: Mapping[str, str],
        query: Mapping[str, str],
    ) -> interface.Attributes | None:
        """See `Policy`. Verbs as k8s.io/apiserver's RequestInfo names them."""
        name = parts.get("name", "")
        verb = {**_READS, **_WRITES}.get(method, method.lower())
        if not name and method in _READS:
            verb = "watch" if _is_true(query.get("watch")) else "list"
            name = _named(query.get("fieldSelector", ""))
        elif not name and method == "DELETE":
            verb = "deletecollection"
        return interface.Attributes(
            verb=verb,
            **self._names,
            subresource=self._subresource,
            namespace=parts.get("namespace", ""),
            name=name,
        )


def _is_true(text: str | None) -> bool:
    return text is not None and text not in ("false", "0", "f", "F", "False", "FALSE")


def _named(selector: str) -> str:
    """The name in `metadata.name=NAME`: a list or watch of one object may be allowed by name."""
    field, _, name = selector.partition("=")
    plain = "," not in name and not name.startswith("=")
    return name if field == "metadata.name" and plain else ""
