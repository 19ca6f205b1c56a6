from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from coredumpd import errors
from coredumpd.settings import file, schema

VALIDATOR = jsonschema_rs.validator_for(json.dumps(schema.document()))

GOOD = """
policy: {maxSize: 1.5Gi, captureTimeout: 1h30m, runtimeStateDirs: [/run/a], honourRlimit: true,
  spoolKeepFree: 12.5%, spoolKeepFreeInodes: 100%}
agent: {store: "https://server:8443", port: 0, suidDumpable: 2, keptMaxUse: 4096}
server: {objects: "etcd://a:2379,b:2379/cores", uploadAccount: "system:serviceaccount:a:b"}
retention: {interval: 0, gcThreshold: "0"}
bucket: {endpoint: "http://minio:9000", region: eu, sse: AES256}
crashLoop:
"""
BAD: tuple[dict[str, Any], ...] = (
    {"polcy": {}},
    {"policy": {"maxSizes": "1Gi"}},
    {"policy": {"maxSize": "1 Gi"}},
    {"policy": {"maxSize": -1}},
    {"policy": {"captureTimeout": "5 minutes"}},
    {"policy": {"captureTimeout": 5}},
    {"policy": {"honourRlimit": "yes"}},
    {"policy": {"runtimeStateDirs": "/run"}},
    {"policy": {"niceness": 20}},
    {"policy": {"spoolKeepFree": "101%"}},
    {"policy": {"spoolKeepFree": "ten"}},
    {"policy": {"spoolKeepFreeInodes": "1Gi"}},
    {"policy": {"niceness": "9"}},
    {"policy": []},
    {"agent": {"capture": "tube"}},
    {"agent": {"hostDir": "coredumpd"}},
    {"agent": {"store": "ftp://host/x"}},
    {"server": {"uploadAccount": "me"}},
    {"server": {"objects": "sqlite:///relative"}},
    {"bucket": {"region": ""}},
    {"bucket": {"endpoint": "minio"}},
)


def test_what_is_checked_to_be_right_is_right_by_the_schema() -> None:
    document = yaml.safe_load(GOOD)
    file.check(document)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_every_default_is_right_by_the_schema() -> None:
    sections = schema.document()["properties"]
    document = {
        name: {
            field: one["default"]
            for field, one in section["properties"].items()
            if "default" in one
        }
        for name, section in sections.items()
    }
    file.check(document)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@pytest.mark.parametrize("document", BAD, ids=str)
def test_these_mistakes_are_found_by_the_schema_too(document: dict[str, Any]) -> None:
    with pytest.raises(errors.SettingsError):
        file.check(document)
    assert not VALIDATOR.is_valid(document)
