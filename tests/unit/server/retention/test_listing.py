from __future__ import annotations

from pathlib import Path

from support import dumps

from coredumpd.server.retention import listing
from coredumpd.store import engines as stores
from coredumpd.store import interface

POD = "team-a/uid-1/app"
ID = "app-20260921t141320z-1-00ff"


def groups(files: list[interface.File]) -> list[tuple[str, list[listing.Stored]]]:
    found, namespaces = [], listing.Namespaces(iter(files))
    while (group := namespaces.next()) is not None:
        found.append(group)
    return found


def test_dumps_come_a_namespace_at_a_time_with_size_and_time(tmp_path: Path) -> None:
    store = stores.open_store(tmp_path.as_uri())
    for namespace, pid in (("team-a", 1), ("team-a", 2), ("team-b", 3)):
        key, record, core = dumps.make(namespace=namespace, pid=pid)
        store.commit(key, record, core)
    found = groups(list(store.files()))
    assert [(name, len(stored)) for name, stored in found] == [("team-a", 2), ("team-b", 1)]
    for _, stored in found:
        for dump in stored:
            assert dump.time_s == 1_790_000_000
            assert dump.size == store.read_record(dump.key).stored_size


def test_half_a_dump_and_garbage_are_no_dumps() -> None:
    files = [
        interface.File("stray/core.gz", 1, 0),
        interface.File("stray/meta.json", 1, 0),
        interface.File(f"{POD}/{ID}/core.gz", 1, 0),
        interface.File(f"{POD}/other-{ID}/meta.json", 1, 0),
        interface.File("team-a/uid-1/.note-deleted.json", 1, 0),
    ]
    assert groups(files) == []


def test_dumps_are_grouped_by_their_pods_uid() -> None:
    keys = [dumps.make(pod_uid=uid, pid=pid)[0] for uid, pid in (("a", 1), ("b", 2), ("a", 3))]
    stored = [listing.Stored(key, 1, 1) for key in keys]
    assert listing.by_pod(stored) == {"a": [stored[0], stored[2]], "b": [stored[1]]}
