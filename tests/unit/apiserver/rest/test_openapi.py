from __future__ import annotations

import json
import re

from coredumpd.apiserver.rest import openapi
from coredumpd.server import kinds


def test_every_reference_leads_somewhere():
    for document, places in (
        (openapi.v2(), openapi.v2()["definitions"]),
        (openapi.v3(), openapi.v3()["components"]["schemas"]),
    ):
        names = re.findall(r'"\$ref": "#/[a-z/]+/([^"]+)"', json.dumps(document))
        assert names
        assert set(names) <= set(places)


def test_operation_ids_are_unique():
    for document in (openapi.v2(), openapi.v3()):
        ids = re.findall(r'"operationId": "([^"]+)"', json.dumps(document))
        assert len(ids) == len(set(ids))


def test_only_what_the_verbs_promise_is_documented():
    for path, methods in openapi.v3()["paths"].items():
        assert path.startswith(kinds.BASE)
        for method in methods:
            assert method in ("get", "post", "put", "patch", "delete")
