"""`/openapi/v2` and `/openapi/v3`, so that kubectl can explain and validate our kinds.

kube-apiserver merges v2 into its own document and keeps only definitions that a path below our
group uses; v3 it proxies (KEP-2896).
"""

from __future__ import annotations

import functools
import json
from typing import Any

from coredumpd import __version__, errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import negotiation
from coredumpd.apiserver.rest import discovery, operations
from coredumpd.server import kinds, schemas

_ACTION = "x-kubernetes-action"
_GVK = "x-kubernetes-group-version-kind"
_MEDIA = {"archive": "application/gzip", "text": "text/plain"}
V3_PATH = f"/openapi/v3{kinds.BASE}"


@functools.cache
def v2() -> dict[str, Any]:
    """The OpenAPI 2.0 document."""
    return {
        "swagger": "2.0",
        "info": {"title": "coredumpd", "version": f"v{__version__}"},
        "paths": _paths(_operation_v2),
        "definitions": _rewritten(_used(), "#/definitions/"),
    }


@functools.cache
def v3() -> dict[str, Any]:
    """The OpenAPI 3.0 document of our group version."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "coredumpd", "version": f"v{__version__}"},
        "paths": _paths(_operation_v3),
        "components": {"schemas": _rewritten(_used(), "#/components/schemas/")},
    }


def v3_root() -> dict[str, Any]:
    """Which v3 documents there are; the hash changes with the content."""
    tag = discovery.etag(v3()).strip('"')
    return {
        "paths": {kinds.BASE.lstrip("/"): {"serverRelativeURL": f"{V3_PATH}?hash={tag.upper()}"}}
    }


def _used() -> dict[str, Any]:
    return {**schemas.all_schemas(), f"{schemas.META}.Patch": {"type": "object"}}


def _paths(render: Any) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for kind in kinds.ALL:
        for operation in operations.of(kind):
            paths.setdefault(operation.path, {})[operation.method] = render(operation)
    return paths


def _common(operation: operations.Operation) -> dict[str, Any]:
    kind = operation.kind.kind
    gvk = {"group": kinds.GROUP, "version": kinds.VERSION, "kind": kind}
    return {
        "description": operation.doc,
        "operationId": f"{_lower(kinds.GROUP)}{kinds.VERSION.title()}{operation.id}",
        "tags": ["coredumpFujitsuCom_v1alpha1"],
        _ACTION: operation.verb,
        _GVK: gvk,
    }


def _lower(group: str) -> str:
    first, *rest = group.split(".")
    return first + "".join(part.title() for part in rest)


def _name(kind: str) -> str:
    if kind in ("Status", "Patch"):
        return f"{schemas.META}.{kind}"
    return f"{schemas.NAMESPACE}.{kind}"


def _body_schema(operation: operations.Operation, where: str) -> dict[str, Any]:
    if operation.takes == "DeleteOptions":
        return {"type": "object"}
    return {"$ref": where + _name(operation.takes)}


def _operation_v2(operation: operations.Operation) -> dict[str, Any]:
    where = "#/definitions/"
    parameters: list[dict[str, Any]] = [
        {
            "name": parameter.name,
            "in": parameter.place,
            "type": parameter.type,
            "description": parameter.doc,
            "uniqueItems": True,
            **({"required": True} if parameter.place == "path" else {}),
        }
        for parameter in operation.parameters
    ]
    if operation.takes:
        needed = {"required": True} if operation.takes != "DeleteOptions" else {}
        schema = _body_schema(operation, where)
        parameters.append({"name": "body", "in": "body", "schema": schema, **needed})
    produces = _MEDIA.get(operation.answer, "application/json")
    schema = (
        {"type": "string"}
        if operation.answer in _MEDIA
        else {"$ref": where + _name(operation.answer)}
    )
    answers = {str(code): {"description": "OK", "schema": schema} for code in operation.codes}
    return {
        **_common(operation),
        "consumes": list(operation.consumes) or ["*/*"],
        "produces": [produces],
        "schemes": ["https"],
        "parameters": parameters,
        "responses": {**answers, "401": {"description": "Unauthorized"}},
    }


def _operation_v3(operation: operations.Operation) -> dict[str, Any]:
    where = "#/components/schemas/"
    made: dict[str, Any] = {
        **_common(operation),
        "parameters": [
            {
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.doc,
                "schema": {"type": parameter.type},
                **({"required": True} if parameter.place == "path" else {}),
            }
            for parameter in operation.parameters
        ],
    }
    if operation.takes:
        schema = _body_schema(operation, where)
        content = {name: {"schema": schema} for name in operation.consumes}
        made["requestBody"] = {"content": content}
        if operation.takes != "DeleteOptions":
            made["requestBody"]["required"] = True
    if operation.answer in _MEDIA:
        media_type, schema = _MEDIA[operation.answer], {"type": "string", "format": "binary"}
    else:
        media_type, schema = "application/json", {"$ref": where + _name(operation.answer)}
    answers: dict[str, Any] = {
        str(code): {"description": "OK", "content": {media_type: {"schema": schema}}}
        for code in operation.codes
    }
    failure = {"application/json": {"schema": {"$ref": where + _name("Status")}}}
    answers["default"] = {"description": "A Status that says why not.", "content": failure}
    return {**made, "responses": answers}


def _rewritten(value: Any, where: str) -> Any:
    """`$ref` names into places; a described reference becomes allOf, as Kubernetes writes it."""
    if isinstance(value, list):
        return [_rewritten(entry, where) for entry in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        reference = {"$ref": where + value["$ref"]}
        if "description" not in value:
            return reference
        if where.startswith("#/definitions"):
            return {**reference, "description": value["description"]}
        return {"allOf": [reference], "description": value["description"]}
    return {name: _rewritten(entry, where) for name, entry in value.items()}


class _Document(handler.Handler):
    def document(self) -> dict[str, Any]:
        """What is served."""
        raise NotImplementedError

    async def get(self) -> None:
        """JSON only, with an ETag; protobuf is 406, and kube-apiserver then takes JSON."""
        accept = self.request.headers.get("Accept", "")
        if not any(entry.takes("application/json") for entry in negotiation.parse_accept(accept)):
            raise errors.NotAcceptable(f"OpenAPI is served as application/json, not as {accept!r}")
        document = self.document()
        tag = discovery.etag(document)
        self.set_header("ETag", tag)
        self.set_header("Vary", "Accept")
        if tag in self.request.headers.get("If-None-Match", ""):
            self.set_status(304)
            self.finish()
            return
        self.answer_bytes(json.dumps(document).encode(), "application/json")

    head = get


class V2(_Document):
    """`/openapi/v2`."""

    def document(self) -> dict[str, Any]:
        """OpenAPI 2.0."""
        return v2()


class V3Root(_Document):
    """`/openapi/v3`."""

    def document(self) -> dict[str, Any]:
        """The list of documents."""
        return v3_root()


class V3(_Document):
    """`/openapi/v3/apis/<group>/<version>`."""

    def document(self) -> dict[str, Any]:
        """OpenAPI 3.0."""
        return v3()


def routes() -> list[application.Route]:
    """What this module serves."""
    return [
        application.Route(r"/openapi/v2", V2, rights.Path()),
        application.Route(r"/openapi/v3/?", V3Root, rights.Path()),
        application.Route(V3_PATH, V3, rights.Path()),
    ]
