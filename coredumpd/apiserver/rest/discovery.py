"""Discovery: which group, versions, kinds and verbs there are; also as one aggregated document.

Aggregated discovery is KEP-3352. What is not offered is 406, never 404: a 404 once left namespaces
undeletable (kubernetes/kubernetes#119662).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import kind as machinery_kind
from coredumpd.apiserver.machinery import negotiation
from coredumpd.server import kinds

_AGGREGATED = "apidiscovery.k8s.io"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")


def group_document() -> dict[str, Any]:
    """The APIGroup."""
    version = {"groupVersion": kinds.GROUP_VERSION, "version": kinds.VERSION}
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": kinds.GROUP,
        "versions": [version],
        "preferredVersion": version,
    }


def group_list_document() -> dict[str, Any]:
    """The APIGroupList."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_document()]}


def resource_list_document(served: Sequence[machinery_kind.Kind]) -> dict[str, Any]:
    """The APIResourceList of our version."""
    resources = []
    for kind in served:
        entry: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": True,
            "kind": kind.kind,
            "verbs": sorted(kind.verbs),
            "shortNames": list(kind.short_names),
        }
        if kind.categories:
            entry["categories"] = list(kind.categories)
        resources.append(entry)
        resources.extend(
            {
                "name": f"{kind.plural}/{subresource.name}",
                "singularName": "",
                "namespaced": True,
                "kind": kind.kind,
                "verbs": sorted(subresource.verbs),
            }
            for subresource in kind.subresources
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds.GROUP_VERSION,
        "resources": resources,
    }


def aggregated_document(served: Sequence[machinery_kind.Kind], version: str) -> dict[str, Any]:
    """The APIGroupDiscoveryList, v2 or v2beta1: the same shape."""

    def response(kind: machinery_kind.Kind) -> dict[str, str]:
        return {"group": kinds.GROUP, "version": kinds.VERSION, "kind": kind.kind}

    resources = []
    for kind in served:
        entry: dict[str, Any] = {
            "resource": kind.plural,
            "responseKind": response(kind),
            "scope": "Namespaced",
            "singularResource": kind.singular,
            "verbs": sorted(kind.verbs),
            "shortNames": list(kind.short_names),
            "subresources": [
                {
                    "subresource": subresource.name,
                    "responseKind": response(kind),
                    "verbs": sorted(subresource.verbs),
                }
                for subresource in kind.subresources
            ],
        }
        if kind.categories:
            entry["categories"] = list(kind.categories)
        resources.append(entry)
    versions = [{"version": kinds.VERSION, "resources": resources, "freshness": "Current"}]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{_AGGREGATED}/{version}",
        "metadata": {},
        "items": [{"metadata": {"name": kinds.GROUP}, "versions": versions}],
    }


def etag(document: dict[str, Any]) -> str:
    """A strong ETag of a document's content."""
    data = json.dumps(document, sort_keys=True).encode()
    return f'"{hashlib.sha256(data).hexdigest()[:40]}"'


class Groups(handler.Handler):
    """`/apis`: the groups, plain or aggregated."""

    async def get(self) -> None:
        """Negotiates `as=APIGroupDiscoveryList`."""
        accept = self.request.headers.get("Accept", "")
        for entry in negotiation.parse_accept(accept):
            if not entry.takes("application/json"):
                continue
            wanted = entry.parameters
            if "as" not in wanted:
                return self.answer(group_list_document())
            version = wanted.get("v", "")
            if (wanted["as"], wanted.get("g")) == ("APIGroupDiscoveryList", _AGGREGATED) and (
                version in _AGGREGATED_VERSIONS
            ):
                return self._aggregated(version)
        raise errors.NotAcceptable(f"/apis is not offered as {accept!r}")

    head = get

    def _aggregated(self, version: str) -> None:
        document = aggregated_document(kinds.ALL, version)
        tag = etag(document)
        self.set_header("ETag", tag)
        self.set_header("Vary", "Accept")
        if tag in self.request.headers.get("If-None-Match", ""):
            self.set_status(304)
            self.finish()
            return
        parameters = f"g={_AGGREGATED};v={version};as=APIGroupDiscoveryList"
        self.answer(document, 200, f"application/json;{parameters}")


class Group(handler.Handler):
    """`/apis/<group>`."""

    async def get(self) -> None:
        """The APIGroup."""
        self.answer(group_document())

    head = get


class Resources(handler.Handler):
    """`/apis/<group>/<version>`: kube-apiserver calls us available while this answers."""

    async def get(self) -> None:
        """The APIResourceList."""
        self.answer(resource_list_document(kinds.ALL))

    head = get


def routes() -> list[application.Route]:
    """What this module serves."""
    return [
        application.Route(r"/apis/?", Groups, rights.Path()),
        application.Route(rf"/apis/{kinds.GROUP}/?", Group, rights.Path()),
        application.Route(rf"/apis/{kinds.GROUP_VERSION}/?", Resources, rights.Path()),
    ]
