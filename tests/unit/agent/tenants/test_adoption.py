from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from coredumpd.agent.tenants import adoption, policy_file
from coredumpd.formats import policy
from coredumpd.settings import sections

SETTINGS = sections.PolicySettings()
DISABLED = {"shop": {"capture": "disabled"}}


@pytest.fixture
def host_dir(tmp_path: Path) -> Path:
    (tmp_path / "shipper").mkdir()
    policy_file.write(tmp_path, SETTINGS, "node1", policy.Tenants(DISABLED))
    return tmp_path


def propose(host_dir: Path, data: bytes) -> None:
    (host_dir / "shipper/policy.new").write_bytes(data)
    (host_dir / "shipper/policy.new").rename(host_dir / "shipper/policy.json")


def document(**fields: Any) -> bytes:
    settings = dataclasses.asdict(SETTINGS)
    return json.dumps(
        json.loads(policy.encode(settings, "node1", policy.Tenants())) | fields
    ).encode()


def adopted(host_dir: Path) -> tuple[policy.Policy, list[str]]:
    one = adoption.Adoption(host_dir, SETTINGS, "node1")
    asyncio.run(one.check())
    return policy.load(str(host_dir / "policy.json")), one.problems()


def test_the_rules_of_namespaces_and_pods_are_adopted(host_dir: Path) -> None:
    propose(host_dir, document(namespaces={"other": {"maxSize": 5}}, pods={"uid": {"maxSize": 6}}))
    snapshot, problems = adopted(host_dir)
    assert (snapshot.namespaces, snapshot.pods) == (
        {"other": {"maxSize": 5}},
        {"uid": {"maxSize": 6}},
    )
    assert problems == []


def test_nothing_but_rules_is_taken_from_the_shipper(host_dir: Path) -> None:
    hostile = {
        "procDir": "/var/lib/coredumpd/spool/proc",
        "runtimeStateDirs": ["/var/lib/coredumpd/spool"],
        "spoolMaxUse": 2**62,
        "spoolKeepFree": 0,
        "niceness": 0,
        "node": "node2",
        "hostCrashes": "store",
        "maxSize": 2**62,
    }
    before = policy.load(str(host_dir / "policy.json"))
    propose(host_dir, document(**hostile, namespaces=DISABLED))
    snapshot, problems = adopted(host_dir)
    for name in hostile:
        assert getattr(snapshot, name) == getattr(before, name), name
    assert problems == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b" " * (policy.POLICY_BYTES_MAX + 1),
        document(namespaces={}, x=[[] for _ in range(300_000)]),
        document(namespaces={"shop": {"capture": "maybe"}}),
        document(namespaces={"shop": []}),
        document(pods={"uid": {"maxSize": -1}}),
        document(namespaces={"n" * 300 + str(one): {"maxSize": 1} for one in range(30_000)}),
    ],
    ids=["empty", "deep", "long", "many values", "bad value", "bad type", "negative", "many"],
)
def test_a_policy_that_the_handler_would_refuse_leaves_the_last_one(
    host_dir: Path, data: bytes
) -> None:
    propose(host_dir, data)
    snapshot, problems = adopted(host_dir)
    assert snapshot.namespaces == DISABLED
    assert "the last one stays" in problems[0]


@pytest.mark.parametrize("plant", ["link", "fifo", "hard link"])
def test_what_a_taken_over_shipper_plants_is_no_policy(host_dir: Path, plant: str) -> None:
    elsewhere, path = host_dir / "elsewhere", host_dir / "shipper/policy.json"
    elsewhere.write_bytes(document())
    match plant:
        case "link":
            path.symlink_to(elsewhere)
        case "fifo":
            os.mkfifo(path)
        case "hard link":
            os.link(elsewhere, path)
    snapshot, problems = adopted(host_dir)
    assert snapshot.namespaces == DISABLED
    assert "the last one stays" in problems[0]


def test_a_good_policy_after_a_bad_one_ends_the_problem(host_dir: Path, caplog) -> None:
    one = adoption.Adoption(host_dir, SETTINGS, "node1")
    propose(host_dir, b"no policy")
    for _ in range(3):
        asyncio.run(one.check())
    assert caplog.text.count("the last one stays") == 1
    propose(host_dir, document())
    asyncio.run(one.check())
    assert one.problems() == []


def test_without_a_word_of_the_shipper_the_rules_stay(host_dir: Path) -> None:
    snapshot, problems = adopted(host_dir)
    assert (snapshot.namespaces, problems) == (DISABLED, [])
