"""OpenAPI 3.0 to 2.0 (Swagger), of documents as `openapi` writes them. Pure.

kubectl reads v3; kube-apiserver still merges the v2 documents of the servers behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def downgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI 2.0 document that says the same as `document`."""
    paths = {
        path: {method: _operation(operation) for method, operation in methods.items()}
        for path, methods in document["paths"].items()
    }
    swagger = {
        "swagger": "2.0",
        "info": document["info"],
        "paths": paths,
        "definitions": document["components"]["schemas"],
    }
    moved: dict[str, Any] = _references_moved(swagger)
    return moved


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [_parameter(parameter) for parameter in operation["parameters"]]
    consumes = ["*/*"]
    if "requestBody" in operation:
        body = dict(operation["requestBody"])
        content = body.pop("content")
        consumes = list(content)
        schema = content[consumes[0]]["schema"]
        parameters.append({"name": "body", "in": "body", "schema": schema, **body})
    responses = {}
    for code, response in operation["responses"].items():
        if code != "default":
            ((produces, media),) = response["content"].items()
            schema = {name: value for name, value in media["schema"].items() if name != "format"}
            responses[code] = {"description": response["description"], "schema": schema}
    return {
        **{name: value for name, value in operation.items() if name != "requestBody"},
        "consumes": consumes,
        "produces": [produces],
        "schemes": ["https"],
        "parameters": parameters,
        "responses": {**responses, "401": {"description": "Unauthorized"}},
    }


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    described = {name: value for name, value in parameter.items() if name != "schema"}
    return {**described, **parameter["schema"], "uniqueItems": True}


def _references_moved(value: Any) -> Any:
    """v2 has definitions where v3 has schemas, and lets a reference have a description."""
    if isinstance(value, list):
        return [_references_moved(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "allOf" in value:
        (reference,) = value["allOf"]
        return {**_references_moved(reference), "description": value["description"]}
    if isinstance(value.get("$ref"), str):
        return {"$ref": value["$ref"].replace("#/components/schemas/", "#/definitions/")}
    return {name: _references_moved(item) for name, item in value.items()}
