"""The policy snapshot: believed only when ours, whole and well-formed."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import policy
from coredumpd.settings import sections


def test_the_defaults_are_those_of_the_settings() -> None:
    ours, theirs = policy.Policy(), sections.PolicySettings()
    for name in (
        "capture",
        "hostCrashes",
        "maxSize",
        "captureTimeout",
        "honourRlimit",
        "spoolMaxUse",
        "spoolKeepFree",
        "spoolKeepFreeInodes",
        "spoolMaxEntries",
        "niceness",
        "captureSlots",
        "cgroupRoot",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert tuple(ours.runtimeStateDirs) == theirs.runtimeStateDirs


def test_no_snapshot_is_not_the_defaults(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        policy.load(str(tmp_path / "policy.json"))


@pytest.mark.parametrize("first", [None, b"", b"{", b"x" * (policy.POLICY_BYTES_MAX + 1)])
def test_the_last_good_policy_stands_in_and_without_it_there_is_none(
    tmp_path: Path, first: bytes | None
) -> None:
    if first is not None:
        (tmp_path / "policy.json").write_bytes(first)
        (tmp_path / "policy.json").chmod(0o600)
    host_dir = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises((errors.NotFound, errors.BadRecord)):
        policy.load_in_force(host_dir)
    last = {"version": 1, "maxSize": 7, "namespaces": {"team-a": {"capture": "disabled"}}}
    (tmp_path / "policy.json.last").write_text(json.dumps(last))
    (tmp_path / "policy.json.last").chmod(0o600)
    rules = policy.load_in_force(host_dir)
    os.close(host_dir)
    assert (rules.maxSize, rules.namespaces) == (7, last["namespaces"])


@pytest.mark.parametrize("many", [0, 10, 30_000])
def test_a_document_is_never_longer_than_what_is_read_and_never_more_open(many: int) -> None:
    rules = {f"team-{number}": {"capture": "disabled", "x": "y" * 300} for number in range(many)}
    settings = dataclasses.asdict(sections.PolicySettings())
    data = policy.encode(settings, "node1", policy.Tenants(rules))
    assert len(data) <= policy.POLICY_BYTES_MAX
    for namespace in (*list(rules)[:3], *list(rules)[-3:]):
        read = policy.parse(data)
        read.narrow("some-uid", namespace)
        assert read.capture == "disabled"


def test_a_document_that_cannot_be_bounded_is_not_made() -> None:
    tenants = policy.Tenants(encryptTo={str(number): "k" * 1000 for number in range(10_000)})
    with pytest.raises(errors.BadRecord, match="at most"):
        policy.encode(dataclasses.asdict(sections.PolicySettings()), "node1", tenants)


def test_a_snapshot_is_obeyed_and_newer_fields_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"version": 1, "maxSize": 4096, "node": "n1", "newer": []}))
    path.chmod(0o600)
    found = policy.load(str(path))
    assert (found.maxSize, found.node, found.hostCrashes) == (4096, "n1", "ignore")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostCrashes", "perhaps"),
        ("maxSize", -1),
        ("maxSize", 1.5),
        ("maxSize", True),
        ("captureTimeout", "5m"),
        ("captureTimeout", float("inf")),
        ("runtimeStateDirs", "/run"),
        ("runtimeStateDirs", ["relative"]),
        ("honourRlimit", 1),
        ("spoolMaxUse", "16Gi"),
        ("spoolMaxEntries", 0),
        ("niceness", 20),
        ("captureSlots", 0),
        ("cgroupRoot", "relative"),
        ("node", 7),
        ("procDir", "proc"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(errors.BadRecord, match=field):
        policy.parse(json.dumps({"version": 1, field: value}).encode())


@pytest.mark.parametrize("kind", ["fifo", "link", "group-writable"])
def test_a_snapshot_that_others_could_have_written_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "policy.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/null")
    else:
        path.write_text('{"version": 1}')
        path.chmod(0o620)
    with pytest.raises(errors.Forbidden, match=r"policy\.json"):
        policy.load(str(path))


@given(st.binary(max_size=80) | st.dictionaries(st.text(), st.floats()).map(json.dumps))
def test_any_bytes_are_a_policy_or_refused(data: bytes | str) -> None:
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(errors.BadRecord):
        policy.parse(raw)


def test_a_pods_own_rules_go_before_its_namespaces() -> None:
    raw = {
        "version": 1,
        "maxSize": 8,
        "namespaces": {"team-a": {"maxSize": 4, "capture": "disabled"}},
        "pods": {"uid-1": {"maxSize": 2, "newer": 1}},
        "identities": {"uid-3": {"namespace": "team-a"}},
    }
    for uid, namespace, expected in (
        ("uid-1", "team-a", (2, "enabled")),
        ("uid-1", None, (2, "enabled")),
        ("uid-2", "team-a", (4, "disabled")),
        ("uid-2", "team-b", (8, "enabled")),
        ("uid-2", None, (8, "enabled")),
        ("uid-3", None, (4, "disabled")),  # the agent has seen in which namespace it is
    ):
        rules = policy.parse(json.dumps(raw).encode())
        rules.narrow(uid, namespace)
        assert (rules.maxSize, rules.capture) == expected


@pytest.mark.parametrize("field", ["namespaces", "pods"])
@pytest.mark.parametrize(
    "value",
    [
        [],
        {"a": 1},
        {"a": {"capture": "yes"}},
        {"a": {"maxSize": "1Gi"}},
        {"a": {"maxSize": -1}},
        {"a": {"quotaReached": 1}},
    ],
)
def test_wrong_rules_of_a_tenant_are_refused(field: str, value: object) -> None:
    with pytest.raises(errors.BadRecord, match=field):
        policy.parse(json.dumps({"version": 1, field: value}).encode())


RULES = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.fixed_dictionaries(
        {},
        optional={
            "capture": st.sampled_from(["enabled", "disabled"]),
            "maxSize": st.integers(0, 2**62),
            "quotaReached": st.booleans(),
        },
    ),
)


@given(
    st.integers(0, 2**62),
    st.text(),
    RULES,
    RULES,
    st.none() | st.dictionaries(st.text(), st.text()),
)
def test_what_an_agent_encodes_reads_back(
    max_size: int,
    node: str,
    namespaces: dict[str, dict[str, Any]],
    pods: dict[str, dict[str, Any]],
    encrypt_to: dict[str, str] | None,
) -> None:
    settings = sections.PolicySettings(maxSize=max_size)
    tenants = policy.Tenants(namespaces, pods, encrypt_to)
    data = policy.encode(dataclasses.asdict(settings), node, tenants)
    rules = policy.parse(data)
    assert (rules.maxSize, rules.node) == (max_size, node)
    assert (rules.namespaces, rules.pods) == (namespaces, pods)
    assert policy.parse_tenants(data) == tenants


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"7", b'{"pods": 1}', b"[" * 100000])
def test_bytes_that_no_agent_wrote_have_no_tenants(data: bytes) -> None:
    with pytest.raises(errors.BadRecord):
        policy.parse_tenants(data)
