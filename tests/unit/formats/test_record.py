from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import record as records


def document(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "id": "app-20260102t030405z-7-00ff",
        "time": "2026-01-02T03:04:05.000Z",
        "namespace": "default",
        "podName": "web",
        "podUID": "1234-5678",
        "container": "app",
        "process": {"pid": 7, "comm": "app", "exe": "/bin/app"},
        "signal": {"number": 11, "name": "SIGSEGV"},
        "core": {"size": 1, "storedSize": 1, "crc32": "00000000", "truncated": {"is": False}},
        "capture": {"attribution": "runtime"},
    } | changes


def test_a_record_reads_back_with_its_unknown_fields() -> None:
    raw = document(future={"kept": [1, 2]})
    found = records.CrashRecord.parse(records.CrashRecord(raw).encode()).raw
    assert {name: found[name] for name in raw} == raw
    assert {value for name, value in found.items() if name not in raw} == {None}


def test_every_wrong_field_is_named_at_once() -> None:
    raw = document(id=7, version=3, core=None)
    with pytest.raises(errors.BadRecord) as caught:
        records.CrashRecord.parse(json.dumps(raw).encode())
    fields = {cause.field for cause in caught.value.causes}
    assert {"id", "version", "core", "core.size"} <= fields


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100000, b" " * 300000])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(errors.BadRecord):
        records.CrashRecord.parse(data)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(errors.BadRecord):
        records.CrashRecord.parse(b"#" + data)


def test_a_pods_record_knows_its_place_in_the_store() -> None:
    key = records.CrashRecord(document()).key()
    assert str(key) == "default/1234-5678/app/app-20260102t030405z-7-00ff"


def test_a_host_crash_lives_where_no_namespace_can() -> None:
    raw = document(namespace="_host", node="node1", podUID=None, container=None)
    raw["process"]["comm"] = "../evil comm"
    assert str(records.CrashRecord(raw).key()).startswith("_host/node1/evil-comm/")


def test_a_record_without_attribution_has_no_key() -> None:
    with pytest.raises(errors.Invalid, match="namespace"):
        records.CrashRecord(document(namespace=None)).key()


@given(
    st.sets(st.sampled_from(["namespace", "podName", "podUID", "container", "containerID", "node"]))
)
def test_what_may_be_null_and_is_missing_is_read_as_null(missing: set[str]) -> None:
    raw = {name: value for name, value in document().items() if name not in missing}
    found = records.CrashRecord.parse(json.dumps(raw).encode())
    assert all(found.raw[name] is None for name in missing)
    with contextlib.suppress(errors.Invalid):  # not attributed: said, not a KeyError
        found.key()


def test_what_core_gz_holds_is_the_core_or_of_a_sealed_one_the_age_file() -> None:
    raw = document()
    plain = records.CrashRecord.parse(json.dumps(raw).encode())
    assert (plain.content, plain.sealed) == ((1, "00000000"), None)
    raw["core"]["sealed"] = {"size": 7, "crc32": "0000abcd", "to": ["age1..."]}
    sealed = records.CrashRecord.parse(json.dumps(raw).encode())
    assert (sealed.content, sealed.raw["core"]["size"]) == ((7, "0000abcd"), 1)


@pytest.mark.parametrize(
    ("sealed", "field"),
    [
        (True, "core.sealed"),
        ({}, "core.sealed.size"),
        ({"size": "7", "crc32": "0"}, "core.sealed.size"),
        ({"size": 7}, "core.sealed.crc32"),
    ],
)
def test_a_sealed_core_that_does_not_say_what_it_is_is_refused(sealed: Any, field: str) -> None:
    raw = document()
    raw["core"]["sealed"] = sealed
    with pytest.raises(errors.BadRecord) as caught:
        records.CrashRecord.parse(json.dumps(raw).encode())
    assert field in {cause.field for cause in caught.value.causes}


def test_a_handlers_record_is_composed_in_the_tables_order_and_missing_is_null() -> None:
    values = {
        "version": 1,
        "id": "app-1",
        "time": "2026-01-02T03:04:05.000Z",
        "process.pid": 7,
        "signal.number": 11,
        "core.size": 0,
        "core.storedSize": 0,
        "core.crc32": "00000000",
        "core.truncated.is": True,
        "capture.attribution": "cgroup-only",
    }
    record = records.compose(values)
    assert record.raw["core"]["truncated"] == {"is": True, "reason": None, "limit": None}
    assert (record.node, record.exe, record.pid) == (None, None, 7)
    assert list(record.raw)[:3] == ["version", "id", "time"]
    assert records.CrashRecord.parse(record.encode()).raw == record.raw


@pytest.mark.parametrize("path", ["core.sealed.size", "podLabels", "newer"])
def test_a_field_that_no_handler_writes_is_not_composed(path: str) -> None:
    with pytest.raises(ValueError, match=path):
        records.compose({path: 1})


def test_every_field_of_the_table_lies_below_an_object_of_the_table() -> None:
    kinds = {path: kind for path, kind, *_ in records.FIELDS}
    assert len(kinds) == len(records.FIELDS)
    for path in kinds:
        above = path.rpartition(".")[0]
        assert not above or kinds[above] == records.OBJECT


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*document(), "podLabels", "owner"]), json_values))
def test_what_is_encoded_reads_back_or_is_refused_before_it_is_written(changes: Any) -> None:
    record = records.CrashRecord(document(**changes))
    try:
        data = record.encode()
    except errors.BadRecord:
        return
    raw = records.CrashRecord.parse(data).raw
    assert {name: raw[name] for name in record.raw} == record.raw


def test_a_record_that_is_too_long_to_be_read_is_not_encoded() -> None:
    record = records.CrashRecord(document(podLabels={"a": "x" * records.RECORD_BYTES_MAX}))
    with pytest.raises(errors.BadRecord, match="at most"):
        record.encode()
