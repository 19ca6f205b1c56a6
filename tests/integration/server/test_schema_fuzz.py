"""Schemathesis against our own OpenAPI document: whatever fits it, or nearly, is never a 5xx."""

from __future__ import annotations

import copy

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from support import dumps
from support.server import servers

from coredumpd.apiserver.rest import openapi
from coredumpd.server import kinds, schemas

DOCUMENTS = openapi.Documents(kinds.API_GROUP, schemas.all_schemas())
ENDPOINTS = servers.BASE + "/namespaces/team-a/coredumpendpoints"
CHECKS = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
# Not checked is that everything that fits is accepted, as Kubernetes' own types are too wide for
# it: selectors, names and continue tokens are strings.


# What exists and what means something, or nothing would get past the first check.
WORDS = ["true", "0", "-1", "9" * 25, "All", "Exact", "NotOlderThan", "a=b", "a in (b)"]
EXAMPLES = {
    "apiVersion": kinds.GROUP_VERSION,
    "kind": kinds.ENDPOINT.kind,
    "namespace": "team-a",
    "name": "web-0",
    "generateName": "web-",
    "uid": "",
    "resourceVersion": "",
    "podUID": "1234-5678",
    "poduid": "1234-5678",
    "ownerReferences": [],
    "finalizers": [],
}
CONFIG = {
    "seed": 1,
    "generation": {
        "deterministic": True,
        "max-examples": 40,
        "dictionaries": {"string": {"dictionary": "words", "probability": 0.3}},
    },
    "dictionaries": {
        "words": {"values": WORDS},
        "namespaces": {"values": ["team-a"]},
        "names": {"values": ["web-0", dumps.make()[0].id]},
    },
    "parameters": {
        "path.namespace": {"dictionary": "namespaces", "probability": 0.8},
        "path.name": {"dictionary": "names", "probability": 0.8},
    },
}


JSON_PATCH = {  # Kubernetes' documents call every patch an object
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string", "example": "/metadata/labels"},
            "from": {"type": "string", "example": "/metadata"},
            "value": {},
        },
    },
}


def document():
    """Our OpenAPI document, with examples of what existing objects say."""
    made = copy.deepcopy(DOCUMENTS.v3)
    for part in made["components"]["schemas"].values():
        for name, field in part.get("properties", {}).items():
            if name in EXAMPLES:
                field["example"] = EXAMPLES[name]
    for operation in (each for path in made["paths"].values() for each in path.values()):
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["example"] = EXAMPLES[parameter["name"]]
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json-patch+json" in content:
            content["application/json-patch+json"]["schema"] = JSON_PATCH
    return made


schema = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module")
def session(world):
    client = world.proxied("fuzzer")
    with requests.Session() as made:
        made.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        made.verify = str(client.ca_file)
        made.cert = tuple(map(str, client.certificate))
        made.headers.update(client.headers)
        made.base = f"https://127.0.0.1:{world.server.port}"
        yield made


@pytest.fixture
def existing(world):
    """What the names in DICTIONARIES name, until an operation deletes it."""
    world.store.commit(*dumps.make())
    world.proxied().ask(
        "POST", ENDPOINTS, {"metadata": {"name": "web-0"}, "spec": {"podUID": "1234-5678"}}
    )


def test_this_document_is_the_one_that_is_served(session):
    root = session.get(session.base + "/openapi/v3").json()["paths"]
    url = next(iter(root.values()))["serverRelativeURL"]
    assert session.get(session.base + url).json() == DOCUMENTS.v3


@schema.parametrize()
@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck))
def test_no_request_gets_a_5xx_and_answers_are_as_documented(case, session, existing):
    request = case.as_transport_kwargs(base_url=session.base)
    with session.request(**request, stream=True, timeout=30) as response:
        if response.ok and response.headers.get("Transfer-Encoding") == "chunked":
            return  # a watch: it has begun, and would go on
        case.validate_response(response, checks=[checks.CHECKS.get_one(name) for name in CHECKS])
        if response.status_code >= 400:
            told = response.json()
            assert (told["kind"], told["code"]) == ("Status", response.status_code)
            assert all(cause["field"] for cause in told["details"]["causes"])
