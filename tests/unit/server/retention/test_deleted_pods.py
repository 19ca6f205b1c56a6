from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from support import dumps

from coredumpd.server.retention import deleted_pods, listing
from coredumpd.store import engines as stores
from coredumpd.store import interface

PLACE = ("team-a", dumps.POD_UID, deleted_pods.NOTE)


@pytest.fixture
def store(tmp_path: Path) -> interface.Store:
    opened = stores.open_store(tmp_path.as_uri())
    key, record, core = dumps.make()
    opened.commit(key, record, core)
    return opened


def expired(store: interface.Store, living: set[str], keep_s: float) -> int:
    """How many dumps of the namespace have expired."""
    stored = [listing.Stored(key, 1, 1) for key in store.list()]
    pods = deleted_pods.DeletedPods(store)
    return len(asyncio.run(pods.expired("team-a", stored, living, keep_s)))


def test_the_deadline_begins_when_the_pod_is_found_deleted(store: interface.Store) -> None:
    assert expired(store, set(), 0) == 0
    note = store.read_note(*PLACE)
    assert note is not None
    assert abs(json.loads(note)["deletedAt"] - time.time()) < 60
    assert expired(store, set(), 3600) == 0
    assert expired(store, set(), 0) == 1


def test_a_pod_that_lives_after_all_has_no_deadline(store: interface.Store) -> None:
    expired(store, set(), 0)
    assert expired(store, {dumps.POD_UID}, 0) == 0
    assert store.read_note(*PLACE) is None


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"deletedAt": "long ago"}', b"{}"])
def test_a_note_that_cannot_be_read_is_written_anew(store: interface.Store, note: bytes) -> None:
    store.write_note(*PLACE, note)
    assert expired(store, set(), 0) == 0
    assert expired(store, set(), 0) == 1


def test_a_note_is_removed_with_its_pod(store: interface.Store) -> None:
    expired(store, set(), 0)
    pods = deleted_pods.DeletedPods(store)
    for _ in range(2):
        asyncio.run(pods.forget("team-a", dumps.POD_UID))
    assert store.read_note(*PLACE) is None
