"""Discovery: the group, its versions, kinds and verbs; also as one aggregated document.

Aggregated discovery is KEP-3352. What is not offered is 406, never 404: a 404 once left namespaces
undeletable (kubernetes/kubernetes#119662).
"""

from __future__ import annotations

from typing import Any

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.machinery import negotiation

_AGGREGATED = "apidiscovery.k8s.io"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")


def group_document(group: kinds.Group) -> dict[str, Any]:
    """The APIGroup."""
    version = {"groupVersion": group.group_version, "version": group.version}
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group.name,
        "versions": [version],
        "preferredVersion": version,
    }


def group_list_document(group: kinds.Group) -> dict[str, Any]:
    """The APIGroupList."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_document(group)]}


def resource_list_document(group: kinds.Group) -> dict[str, Any]:
    """The APIResourceList of the group's version."""
    resources = []
    for kind in group.kinds:
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": True,
                "kind": kind.kind,
                **_names_and_verbs(kind),
            }
        )
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
        "groupVersion": group.group_version,
        "resources": resources,
    }


def aggregated_document(group: kinds.Group, version: str) -> dict[str, Any]:
    """The APIGroupDiscoveryList; `version` v2 and v2beta1 have the same shape."""
    resources = []
    for kind in group.kinds:
        response = {"group": group.name, "version": group.version, "kind": kind.kind}
        resources.append(
            {
                "resource": kind.plural,
                "responseKind": response,
                "scope": "Namespaced",
                "singularResource": kind.singular,
                **_names_and_verbs(kind),
                "subresources": [
                    {
                        "subresource": subresource.name,
                        "responseKind": response,
                        "verbs": sorted(subresource.verbs),
                    }
                    for subresource in kind.subresources
                ],
            }
        )
    versions = [{"version": group.version, "resources": resources, "freshness": "Current"}]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{_AGGREGATED}/{version}",
        "metadata": {},
        "items": [{"metadata": {"name": group.name}, "versions": versions}],
    }


def _names_and_verbs(kind: kinds.Kind) -> dict[str, Any]:
    categories = {"categories": list(kind.categories)} if kind.categories else {}
    return {"verbs": sorted(kind.verbs), "shortNames": list(kind.short_names), **categories}


class _Handler(handler.Handler):
    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, group: kinds.Group
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.group = group
        super().initialize(rights)


class Groups(_Handler):
    """`/apis`: the groups, plain or aggregated."""

    async def get(self) -> None:
        """Negotiates `as=APIGroupDiscoveryList`."""
        accept = self.request.headers.get("Accept", "")
        for media in negotiation.parse_accept(accept):
            if not media.takes("application/json"):
                continue
            parameters = media.parameters
            if "as" not in parameters:
                return self.answer(group_list_document(self.group))
            version = parameters.get("v", "")
            kind = (parameters["as"], parameters.get("g"))
            if kind == ("APIGroupDiscoveryList", _AGGREGATED) and version in _AGGREGATED_VERSIONS:
                return self.answer_cached(
                    aggregated_document(self.group, version),
                    f"application/json;g={_AGGREGATED};v={version};as=APIGroupDiscoveryList",
                )
        raise errors.NotAcceptable(f"/apis is not offered as {accept!r}")

    head = get


class Group(_Handler):
    """`/apis/<group>`."""

    async def get(self) -> None:
        """The APIGroup."""
        self.answer(group_document(self.group))

    head = get


class Resources(_Handler):
    """`/apis/<group>/<version>`: kube-apiserver calls us available while this answers."""

    async def get(self) -> None:
        """The APIResourceList."""
        self.answer(resource_list_document(self.group))

    head = get


def routes(group: kinds.Group) -> list[application.Route]:
    """The routes of discovery."""
    arguments = {"group": group}
    return [
        application.Route(r"/apis/?", Groups, rights.Path(), arguments),
        application.Route(rf"/apis/{group.name}/?", Group, rights.Path(), arguments),
        application.Route(rf"{group.path}/?", Resources, rights.Path(), arguments),
    ]
