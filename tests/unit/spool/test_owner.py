"""What the handler knew before the core decides whose a record may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import record as records
from coredumpd.spool import owner


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def crash(**fields: Any) -> records.CrashRecord:
    return dumps.make()[1].with_(**fields)


def test_a_record_that_agrees_is_believed(directory: int) -> None:
    record = crash()
    owner.mark(directory, record)
    assert owner.verified(directory, record).raw == record.raw


@pytest.mark.parametrize(
    "lie",
    [
        {"namespace": "victim"},
        {"podName": "other-0"},
        {"containerID": "f" * 64},
        {"containerID": None},
        {"namespace": None},
        {"namespace": "victim", "podName": "v-0", "podUID": "9" * 8, "containerID": "f" * 64},
    ],
)
def test_a_record_of_somebody_else_is_refused(directory: int, lie: dict[str, Any]) -> None:
    record = crash()
    owner.mark(directory, record)
    with pytest.raises(errors.BadRecord, match="but the crash was of"):
        owner.verified(directory, record.with_(**lie))


def test_a_pod_known_by_its_uid_may_be_named_but_not_be_another(directory: int) -> None:
    record = crash(namespace=None, podName=None)
    owner.mark(directory, record)
    named = record.with_(namespace="shop", podName="web-0")
    assert owner.verified(directory, named).namespace == "shop"
    with pytest.raises(errors.BadRecord, match="says pod"):
        owner.verified(directory, named.with_(podUID="00000000-0000-4000-8000-000000000000"))


def test_a_static_pod_may_have_another_uid_under_its_own_names(directory: int) -> None:
    record = crash()
    owner.mark(directory, record)
    uid = "00000000-0000-4000-8000-000000000000"
    assert owner.verified(directory, record.with_(podUID=uid)).pod_uid == uid


@pytest.mark.parametrize("namespace", ["shop", None])
def test_a_pods_record_that_was_given_to_the_host_is_the_pods_again(
    directory: int, namespace: str | None
) -> None:
    record = crash(namespace=namespace, podName="web-0" if namespace else None)
    owner.mark(directory, record)
    assert owner.verified(directory, record.with_(namespace="_host")).namespace == namespace


def test_a_process_of_the_host_is_nobodys_else(directory: int) -> None:
    record = crash(namespace="_host", podName=None, podUID=None, containerID=None)
    owner.mark(directory, record)
    assert owner.verified(directory, record).namespace == "_host"
    with pytest.raises(errors.BadRecord):
        owner.verified(directory, record.with_(namespace="victim", podName="v-0"))


def test_an_entry_without_the_attribute_stands_for_itself(directory: int) -> None:
    record = crash()
    assert owner.verified(directory, record) is record


def test_a_damaged_attribute_is_no_proof(directory: int) -> None:
    os.setxattr(directory, owner.ATTRIBUTE, b"{}")
    with pytest.raises(errors.BadRecord, match="damaged"):
        owner.verified(directory, crash())
