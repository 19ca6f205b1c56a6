"""`/openapi/v2` and `/openapi/v3`, so that kubectl can explain and validate the group's kinds.

kube-apiserver merges v2 into its own document and keeps only definitions that a path below our
group uses; v3 it proxies (KEP-2896).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from coredumpd import __version__, errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.machinery import negotiation
from coredumpd.apiserver.rest import operations, swagger

_SCHEMAS = "#/components/schemas/"
_META_KINDS = ("Status", "Patch")
Schemas = Mapping[str, dict[str, Any]]


class Documents:
    """The OpenAPI documents of a group.

    `schemas` are those of its kinds by `<group.schema_prefix>.<Kind>`, and those of Kubernetes'
    own types by `<group.schema_prefix>.meta.<Type>`. A `$ref` holds nothing but such a name.
    """

    def __init__(self, group: kinds.Group, schemas: Schemas) -> None:
        self._group = group
        patch = {f"{group.schema_prefix}.meta.Patch": {"type": "object"}}
        self._schemas = {**schemas, **patch}
        self.v3_path = f"/openapi/v3{group.path}"

    @functools.cached_property
    def v3(self) -> dict[str, Any]:
        """The OpenAPI 3.0 document of the group version."""
        paths: dict[str, Any] = {}
        for operation in operations.of(self._group):
            paths.setdefault(operation.path, {})[operation.method] = self._operation(operation)
        return {
            "openapi": "3.0.0",
            "info": {"title": "coredumpd", "version": f"v{__version__}"},
            "paths": paths,
            "components": {"schemas": _with_places(self._schemas)},
        }

    @functools.cached_property
    def v2(self) -> dict[str, Any]:
        """The OpenAPI 2.0 document: the same, in the older notation."""
        return swagger.downgraded(self.v3)

    def v3_root(self) -> dict[str, Any]:
        """The list of v3 documents; the hash in a URL changes with the document."""
        tag = negotiation.etag(self.v3).strip('"').upper()
        url = f"{self.v3_path}?hash={tag}"
        return {"paths": {self._group.path.lstrip("/"): {"serverRelativeURL": url}}}

    def _operation(self, operation: operations.Operation) -> dict[str, Any]:
        group, version = self._group.name, self._group.version
        label = _camel_case(group)
        document: dict[str, Any] = {
            "description": operation.doc,
            "operationId": f"{label}{version.title()}{operation.id}",
            "tags": [f"{label}_{version}"],
            "x-kubernetes-action": operation.verb,
            "x-kubernetes-group-version-kind": {
                "group": group,
                "version": version,
                "kind": operation.kind.kind,
            },
            "parameters": [_parameter(parameter) for parameter in operation.parameters],
        }
        if operation.takes:
            document["requestBody"] = self._request_body(operation)
        return {**document, "responses": self._responses(operation)}

    def _request_body(self, operation: operations.Operation) -> dict[str, Any]:
        schema, required = self._reference(operation.takes), {"required": True}
        if operation.takes == "DeleteOptions":
            schema, required = {"type": "object"}, {}
        return {"content": {name: {"schema": schema} for name in operation.consumes}, **required}

    def _responses(self, operation: operations.Operation) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "format": "binary"}
        if operation.answer:
            schema = self._reference(operation.answer)
        success = {"description": "OK", "content": {operation.produces: {"schema": schema}}}
        failure = {"application/json": {"schema": self._reference("Status")}}
        return {
            **{str(code): success for code in operation.codes},
            "default": {"description": "A Status that says why not.", "content": failure},
        }

    def _reference(self, kind: str) -> dict[str, Any]:
        prefix = self._group.schema_prefix
        name = f"{prefix}.meta.{kind}" if kind in _META_KINDS else f"{prefix}.{kind}"
        return {"$ref": _SCHEMAS + name}


def _parameter(parameter: kinds.Parameter) -> dict[str, Any]:
    required = {"required": True} if parameter.place == "path" else {}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.doc,
        "schema": {"type": parameter.type},
        **required,
    }


def _camel_case(group: str) -> str:
    first, *rest = group.split(".")
    return first + "".join(part.title() for part in rest)


def _with_places(value: Any) -> Any:
    """`$ref` names become places; a described reference becomes allOf, as Kubernetes writes it."""
    if isinstance(value, list):
        return [_with_places(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("$ref"), str):
        reference = {"$ref": _SCHEMAS + value["$ref"]}
        if "description" not in value:
            return reference
        return {"allOf": [reference], "description": value["description"]}
    return {name: _with_places(item) for name, item in value.items()}


class Document(handler.Handler):
    """GET of one document. JSON only; protobuf is 406, and kube-apiserver then takes JSON."""

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, document: Callable[[], dict[str, Any]]
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.served = document
        super().initialize(rights)

    async def get(self) -> None:
        """The document, with an ETag."""
        accept = self.request.headers.get("Accept", "")
        if not any(media.takes("application/json") for media in negotiation.parse_accept(accept)):
            raise errors.NotAcceptable(f"OpenAPI is served as application/json, not as {accept!r}")
        self.answer_cached(self.served())

    head = get


def routes(group: kinds.Group, schemas: Schemas) -> list[application.Route]:
    """The routes of the documents."""
    documents = Documents(group, schemas)
    table: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (r"/openapi/v2", lambda: documents.v2),
        (r"/openapi/v3/?", documents.v3_root),
        (documents.v3_path, lambda: documents.v3),
    ]
    return [
        application.Route(path, Document, rights.Path(), {"document": document})
        for path, document in table
    ]
