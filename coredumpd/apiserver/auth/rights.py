"""Rights: what a route demands of its callers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from coredumpd.apiserver.auth import interface

_READS = {"GET": "get", "HEAD": "get"}
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@runtime_checkable
class Rights(Protocol):
    """Decided by method, path, named `parts` of the path and query, before the body is read."""

    def attributes(
        self, method: str, path: str, parts: Mapping[str, str], query: Mapping[str, str]
    ) -> interface.Attributes | None:
        """The permission a caller needs; None: no permission and no credentials are needed."""


@dataclasses.dataclass(frozen=True)
class Anybody:
    """No rights at all: for probes, which give nothing away; the kubelet has no credentials."""

    def attributes(
        self,
        method: str,  # noqa: ARG002
        path: str,  # noqa: ARG002
        parts: Mapping[str, str],  # noqa: ARG002
        query: Mapping[str, str],  # noqa: ARG002
    ) -> interface.Attributes | None:
        """See `Rights`."""
        return None


@dataclasses.dataclass(frozen=True)
class Path:
    """Rights to a non-resource URL: discovery, OpenAPI, metrics, and every unknown path."""

    def attributes(
        self,
        method: str,
        path: str,
        parts: Mapping[str, str],  # noqa: ARG002
        query: Mapping[str, str],  # noqa: ARG002
    ) -> interface.Attributes | None:
        """See `Rights`."""
        verb = {**_READS, **_WRITES}.get(method, method.lower())
        return interface.Attributes(verb, path=path)


@dataclasses.dataclass(frozen=True)
class Resource:
    """Rights to a resource, or to a subresource of it; namespace and name stand in the path."""

    group: str
    version: str
    resource: str
    subresource: str = ""

    def attributes(
        self,
        method: str,
        path: str,  # noqa: ARG002
        parts: Mapping[str, str],
        query: Mapping[str, str],
    ) -> interface.Attributes | None:
        """See `Rights`. Verbs as k8s.io/apiserver's RequestInfo names them."""
        name = parts.get("name", "")
        verb = {**_READS, **_WRITES}.get(method, method.lower())
        if not name and method in _READS:
            verb = "watch" if _is_true(query.get("watch")) else "list"
            name = _selected_name(query.get("fieldSelector", ""))
        elif not name and method == "DELETE":
            verb = "deletecollection"
        return interface.Attributes(
            verb=verb,
            group=self.group,
            version=self.version,
            resource=self.resource,
            subresource=self.subresource,
            namespace=parts.get("namespace", ""),
            name=name,
        )


def _is_true(text: str | None) -> bool:
    return text is not None and text not in ("false", "0", "f", "F", "False", "FALSE")


def _selected_name(selector: str) -> str:
    """NAME of `metadata.name=NAME`, else "": RBAC can allow a list of one object by its name."""
    field, _, name = selector.partition("=")
    plain = "," not in name and not name.startswith("=")
    return name if field == "metadata.name" and plain else ""
