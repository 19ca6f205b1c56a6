from __future__ import annotations

from coredumpd.apiserver.rest import swagger

REFERENCE = {"$ref": "#/components/schemas/Thing"}
DOCUMENT = {
    "openapi": "3.0.0",
    "info": {"title": "t", "version": "v1"},
    "paths": {
        "/things": {
            "post": {
                "operationId": "createThing",
                "parameters": [
                    {"name": "dry", "in": "query", "description": "d", "schema": {"type": "string"}}
                ],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": REFERENCE},
                        "application/yaml": {"schema": REFERENCE},
                    },
                    "required": True,
                },
                "responses": {
                    "201": {
                        "description": "OK",
                        "content": {"application/json": {"schema": REFERENCE}},
                    },
                    "default": {"description": "no", "content": {}},
                },
            }
        },
        "/things/file": {
            "get": {
                "operationId": "readFile",
                "parameters": [],
                "responses": {
                    "200": {
                        "description": "OK",
                        "content": {
                            "application/gzip": {"schema": {"type": "string", "format": "binary"}}
                        },
                    }
                },
            }
        },
    },
    "components": {
        "schemas": {
            "Thing": {"properties": {"next": {"allOf": [REFERENCE], "description": "Another."}}}
        }
    },
}


def test_a_body_becomes_a_parameter_and_its_media_types_are_consumed():
    operation = swagger.downgraded(DOCUMENT)["paths"]["/things"]["post"]
    assert operation == {
        "operationId": "createThing",
        "consumes": ["application/json", "application/yaml"],
        "produces": ["application/json"],
        "schemes": ["https"],
        "parameters": [
            {
                "name": "dry",
                "in": "query",
                "description": "d",
                "type": "string",
                "uniqueItems": True,
            },
            {
                "name": "body",
                "in": "body",
                "schema": {"$ref": "#/definitions/Thing"},
                "required": True,
            },
        ],
        "responses": {
            "201": {"description": "OK", "schema": {"$ref": "#/definitions/Thing"}},
            "401": {"description": "Unauthorized"},
        },
    }


def test_bytes_become_a_string_of_the_media_type():
    operation = swagger.downgraded(DOCUMENT)["paths"]["/things/file"]["get"]
    assert (operation["consumes"], operation["produces"]) == (["*/*"], ["application/gzip"])
    assert operation["responses"]["200"] == {"description": "OK", "schema": {"type": "string"}}


def test_schemas_become_definitions_whose_references_may_be_described():
    assert swagger.downgraded(DOCUMENT)["definitions"] == {
        "Thing": {
            "properties": {"next": {"$ref": "#/definitions/Thing", "description": "Another."}}
        }
    }


def test_the_document_itself_is_left_alone():
    before = repr(DOCUMENT)
    swagger.downgraded(DOCUMENT)
    assert repr(DOCUMENT) == before
