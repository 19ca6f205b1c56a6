from __future__ import annotations

import json
import re

import pytest

from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.rest import openapi

PLAIN = kinds.Parameter("offset", "From this byte on.", "integer")
THING = kinds.Kind(
    kind="Thing",
    plural="things",
    singular="thing",
    short_names=(),
    verbs=("create", "get", "list", "patch", "delete"),
    columns=(),
    subresources=(kinds.Subresource("log", ("get",), "Its log.", "text/plain", (PLAIN,)),),
)
GROUP = kinds.Group("example.com", "v1", (THING,))
SCHEMAS = {
    "com.example.v1.Thing": {
        "type": "object",
        "properties": {"part": {"$ref": "com.example.v1.Part", "description": "Its part."}},
    },
    "com.example.v1.ThingList": {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$ref": "com.example.v1.Thing"}}},
    },
    "com.example.v1.Part": {"type": "object"},
    "com.example.v1.meta.Status": {"type": "object"},
}
THINGS = "/apis/example.com/v1/namespaces/{namespace}/things"


@pytest.fixture
def documents():
    return openapi.Documents(GROUP, SCHEMAS)


def test_every_reference_leads_somewhere(documents):
    for document, schemas in (
        (documents.v2, documents.v2["definitions"]),
        (documents.v3, documents.v3["components"]["schemas"]),
    ):
        names = re.findall(r'"\$ref": "#/[a-z/]+/([^"]+)"', json.dumps(document))
        assert names
        assert set(names) <= set(schemas)


def test_operation_ids_are_unique(documents):
    for document in (documents.v2, documents.v3):
        ids = re.findall(r'"operationId": "([^"]+)"', json.dumps(document))
        assert len(ids) == len(set(ids))


def test_only_what_the_verbs_allow_is_documented(documents):
    methods = {path: sorted(methods) for path, methods in documents.v3["paths"].items()}
    assert methods == {
        "/apis/example.com/v1/things": ["get"],
        THINGS: ["get", "post"],
        f"{THINGS}/{{name}}": ["delete", "get", "patch"],
        f"{THINGS}/{{name}}/log": ["get"],
    }


def test_a_subresource_answers_its_media_type_and_takes_its_own_parameters(documents):
    operation = documents.v3["paths"][f"{THINGS}/{{name}}/log"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "namespace",
        "name",
        "offset",
    ]
    schema = {"type": "string", "format": "binary"}
    assert operation["responses"]["200"]["content"] == {"text/plain": {"schema": schema}}


def test_a_described_reference_is_written_as_each_version_allows(documents):
    v3 = documents.v3["components"]["schemas"]["com.example.v1.Thing"]["properties"]["part"]
    assert v3 == {
        "allOf": [{"$ref": "#/components/schemas/com.example.v1.Part"}],
        "description": "Its part.",
    }
    v2 = documents.v2["definitions"]["com.example.v1.Thing"]["properties"]["part"]
    assert v2 == {"$ref": "#/definitions/com.example.v1.Part", "description": "Its part."}


def test_the_hash_of_a_document_changes_with_its_content(documents):
    others = openapi.Documents(GROUP, {**SCHEMAS, "com.example.v1.Part": {"type": "string"}})
    assert documents.v3_root() == openapi.Documents(GROUP, SCHEMAS).v3_root()
    assert documents.v3_root() != others.v3_root()
