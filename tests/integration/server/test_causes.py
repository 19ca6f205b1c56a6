"""Every 4xx says which part of the request was wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import pytest
from support import dumps
from support.server import servers

NAMESPACE = servers.BASE + "/namespaces/team-a"
ENDPOINTS = NAMESPACE + "/coredumpendpoints"
ONE = ENDPOINTS + "/web-0"
GOOD = {"metadata": {"name": "web-9"}, "spec": {"podUID": "1234-5678"}}
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json-patch+json"}


@dataclasses.dataclass(frozen=True)
class Bad:
    """One request, the code it must get and the field that must be named."""

    method: str
    path: str
    code: int
    field: str
    body: object = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        shown = json.dumps(self.body, default=str)[:40] if self.body is not None else ""
        return f"{self.method} {self.path.removeprefix(servers.BASE)[:60]} {shown} {self.field}"


def but(**changes: object) -> dict[str, object]:
    return {**GOOD, **changes}


BAD = (
    Bad("GET", ENDPOINTS + "?labelSelector=a%20b", 400, "labelSelector"),
    Bad("GET", ENDPOINTS + "?labelSelector=" + "a," * 9000, 400, "labelSelector"),
    Bad("GET", ENDPOINTS + "?fieldSelector=x", 400, "fieldSelector"),
    Bad("GET", ENDPOINTS + "?fieldSelector=spec.color%3Dred", 400, "fieldSelector"),
    Bad("GET", ENDPOINTS + "?limit=many", 400, "limit"),
    Bad("GET", ENDPOINTS + "?limit=1&limit=2", 400, "limit"),
    Bad("GET", ENDPOINTS + "?continue=forged", 400, "continue"),
    Bad("GET", ENDPOINTS + "?watch=perhaps", 400, "watch"),
    Bad("GET", ENDPOINTS + "?resourceVersion=new", 400, "resourceVersion"),
    Bad(
        "GET",
        ENDPOINTS + "?resourceVersion=1&resourceVersionMatch=Nearly",
        422,
        "resourceVersionMatch",
    ),
    Bad("GET", ENDPOINTS + "?watch=true&sendInitialEvents=true", 422, "resourceVersionMatch"),
    Bad(
        "GET",
        ENDPOINTS + "?includeObject=Some",
        400,
        "includeObject",
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    ),
    Bad("GET", ENDPOINTS, 406, "Accept", headers={"Accept": "image/png"}),
    Bad("GET", ENDPOINTS, 431, "headers", headers={"X-Big": "x" * 70_000}),
    Bad("GET", ENDPOINTS + "/nobody", 404, "metadata.name"),
    Bad("GET", NAMESPACE + "/cores", 404, "path"),
    Bad("PUT", ENDPOINTS, 405, "method", GOOD),
    Bad("POST", NAMESPACE + "/coredumps", 405, "method", GOOD),
    Bad("POST", ENDPOINTS, 400, "body", b"{"),
    Bad("POST", ENDPOINTS, 400, "body", b'{"a": 1, "a": 2}'),
    Bad("POST", ENDPOINTS, 400, "body", [1]),
    Bad("POST", ENDPOINTS, 400, "body", b"a: &x [1]\nb: *x", {"Content-Type": "application/yaml"}),
    Bad("POST", ENDPOINTS, 413, "body", b"x" * 1_100_000),
    Bad("POST", ENDPOINTS, 415, "Content-Type", b"<a/>", {"Content-Type": "text/xml"}),
    Bad("POST", ENDPOINTS, 400, "kind", but(kind="Pod")),
    Bad(
        "POST",
        ENDPOINTS,
        400,
        "metadata.namespace",
        but(metadata={"name": "web-9", "namespace": "team-b"}),
    ),
    Bad(
        "POST",
        ENDPOINTS,
        400,
        "metadata.resourceVersion",
        but(metadata={"name": "web-9", "resourceVersion": "3"}),
    ),
    Bad("POST", ENDPOINTS, 400, "spec.podUid", but(spec={"podUid": "1"})),
    Bad("POST", ENDPOINTS, 422, "spec.podUID", but(spec={"podUID": "../x"})),
    Bad("POST", ENDPOINTS, 422, "metadata.name", but(metadata={"name": "UPPER"})),
    Bad("POST", ENDPOINTS, 409, "metadata.name", but(metadata={"name": "web-0"})),
    Bad("POST", ENDPOINTS + "?dryRun=Some", 422, "dryRun", GOOD),
    Bad("POST", ENDPOINTS + "?fieldValidation=Harsh", 422, "fieldValidation", GOOD),
    Bad("PUT", ONE, 400, "metadata.name", but(metadata={"name": "web-1"})),
    Bad(
        "PUT",
        ONE,
        409,
        "metadata.resourceVersion",
        but(metadata={"name": "web-0", "resourceVersion": "1"}),
    ),
    Bad(
        "PATCH",
        ONE,
        415,
        "Content-Type",
        b"{}",
        {"Content-Type": "application/strategic-merge-patch+json"},
    ),
    Bad("PATCH", ONE, 400, "body", b"[]", MERGE),
    Bad("PATCH", ONE, 400, "body", b"{}", JSON),
    Bad("PATCH", ONE, 400, "body", b'[{"op": "jump"}]', JSON),
    Bad("PATCH", ONE, 422, "body", b'[{"op": "test", "path": "/kind", "value": "Pod"}]', JSON),
    Bad("DELETE", ONE, 400, "preconditions", {"preconditions": 1}),
    Bad("DELETE", ONE, 409, "preconditions.uid", {"preconditions": {"uid": "other"}}),
    Bad("DELETE", ONE, 400, "dryRun", {"dryRun": "All"}),
    Bad("DELETE", ONE, 422, "propagationPolicy", {"propagationPolicy": "Upwards"}),
    Bad("GET", ONE + "/dump?contianer=app", 400, "contianer"),
    Bad("GET", ONE + "/dump?container=", 400, "container"),
    Bad("GET", ONE + "/dump?container=nobody", 404, "container"),
    Bad("GET", ONE + "/dump?id=nobody", 404, "id"),
    Bad("GET", ONE + "/dump?offset=-1", 400, "offset"),
    Bad("GET", ONE + "/dump?offset=99999999999", 416, "offset"),
    Bad("GET", ONE + "/dump", 416, "Range", headers={"Range": "bytes=99999999999-"}),
)


@pytest.fixture(scope="module")
def existing(world):
    """web-0, whose pod has a dump."""
    world.store.commit(*dumps.make())
    body = {"metadata": {"name": "web-0"}, "spec": {"podUID": dumps.POD_UID}}
    assert world.proxied().ask("POST", ENDPOINTS, body).code in (201, 409)


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_request_is_told_which_part_of_it_is_wrong(world, existing, bad):
    reply = world.proxied().ask(bad.method, bad.path, bad.body, bad.headers)
    told = reply.json
    assert (told["kind"], told["status"], told["code"]) == ("Status", "Failure", bad.code), told
    assert reply.code == bad.code
    assert told["reason"]
    causes = told["details"]["causes"]
    assert [cause["field"] for cause in causes] == [bad.field]
    assert all(cause["reason"] and cause["message"] for cause in causes)
    for cause in causes:
        assert told["message"].count(cause["message"]) <= 1


def test_who_may_not_is_told_so_with_a_cause_too(world):
    assert causes_of(world.client().ask("GET", ENDPOINTS)) == (401, ["Authorization"])
    world.kube.may = lambda spec: spec["user"] != "mallory"
    try:
        assert causes_of(world.proxied("mallory").ask("GET", ENDPOINTS)) == (403, ["user"])
    finally:
        world.kube.may = lambda spec: True


def causes_of(reply):
    return reply.code, [cause["field"] for cause in reply.json["details"]["causes"]]
