from __future__ import annotations

import json
import re

from coredumpd.apiserver.machinery import metadata
from coredumpd.server import kinds, schemas


def test_every_kind_has_a_schema_and_a_list():
    names = schemas.all_schemas()
    for kind in kinds.API_GROUP.kinds:
        assert f"{schemas.PREFIX}.{kind.kind}" in names
        assert f"{schemas.PREFIX}.{kind.kind}List" in names


def test_every_reference_names_a_schema():
    documents = schemas.all_schemas()
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(documents))
    assert references
    assert set(references) <= set(documents)


def test_object_metadata_has_the_fields_that_are_accepted():
    properties = schemas.all_schemas()[f"{schemas.META}.ObjectMeta"]["properties"]
    assert sorted(properties) == sorted(metadata.FIELDS)
