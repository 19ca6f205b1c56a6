from __future__ import annotations

import json
import os
import time

import pytest
from support import dumps, sparse

from coredumpd import cli


@pytest.fixture
def tool(root, capsys):
    def run(*words):
        code = cli.main(["store", words[0], root.as_uri(), *words[1:], "-o", "json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def age(path):
    for file in (path, *path.rglob("*")):
        os.utime(file, (time.time() - 200_000,) * 2)


def leave_part(store, root, dump, whole=True):
    """What a kill between the last fsync and the rename leaves."""
    key, _, core, *_ = dump
    core.seek(0)
    store.commit(*dump)
    directory = root / str(key)
    part = directory.parent / f".{key.id}.0badcafe.part"
    directory.rename(part)
    if not whole:
        (part / "meta.json").unlink()
    age(part)
    return part


def test_a_clean_store_is_0_and_a_finding_is_1(store, root, tool):
    key, record, core = dumps.make()
    store.commit(key, record, core)
    code, document = tool("check")
    size = sum(path.stat().st_size for path in (root / str(key)).iterdir())
    assert (code, document) == (0, {"findings": [], "dumps": 1, "bytes": size, "found": 0})
    (root / "junk").write_bytes(b"?")
    code, document = tool("check")
    assert code == 1
    assert document["findings"] == [
        {"kind": "stray", "path": "junk", "detail": "no part of a dump; left alone"}
    ]


def test_check_changes_nothing(store, root, tool):
    leave_part(store, root, dumps.make())
    before = sorted(path for path in root.rglob("*"))
    assert tool("check")[0] == 1
    assert sorted(path for path in root.rglob("*")) == before


def test_a_part_that_is_whole_is_completed(store, root, tool):
    dump = dumps.make(b"nearly there")
    part = leave_part(store, root, dump)
    code, document = tool("repair")
    assert code == 0
    assert document["findings"][0]["action"] == "completed"
    assert list(store.list()) == [dump[0]]
    assert store.open_core(dump[0]).read_at(0, 1000) == dump[2].getvalue()
    assert not part.exists()


def test_a_part_of_a_core_with_holes_is_completed_with_its_index(store, root, tool):
    dump = sparse.make({0: b"head" * 1024}, 2**40)
    leave_part(store, root, dump)
    assert tool("repair")[0] == 0
    assert store.open_file(f"{dump[0]}/core.index").read_at(0, 10_000) == dump[3].data
    assert tool("check")[0] == 0


def test_a_part_that_is_whole_but_rotten_is_not_completed(store, root, tool):
    dump = dumps.make(b"x" * 100)
    part = leave_part(store, root, dump)
    core = bytearray((part / "core.gz").read_bytes())
    core[12] ^= 1
    (part / "core.gz").write_bytes(core)
    age(part)
    assert tool("repair")[0] == 1
    assert list(store.list()) == []


def test_nothing_is_deleted_without_delete(store, root, tool):
    part = leave_part(store, root, dumps.make(), whole=False)
    code, document = tool("repair")
    assert code == 1
    assert document["findings"][0]["action"] == "--delete would remove it"
    assert part.exists()


def test_delete_removes_leftovers_and_only_them(store, root, tool):
    kept, damaged = dumps.make(b"kept", pid=1), dumps.make(b"damaged", pid=2)
    for dump in (kept, damaged):
        store.commit(*dump)
    (root / str(damaged[0]) / "core.gz").write_bytes(b"?")
    part = leave_part(store, root, dumps.make(b"part", pid=3), whole=False)
    young = part.parent / ".young.0badcafe.part"
    young.mkdir()
    (young / "core.gz").write_bytes(b"?")
    (root / "notes.txt").write_bytes(b"ours")
    code, document = tool("repair", "--delete")
    actions = {finding["kind"]: finding["action"] for finding in document["findings"]}
    assert actions == {
        "half-written": "deleted",
        "in-progress": "left alone",
        "stray": "left alone",
        "wrong-size": "--delete --damaged would remove it",
    }
    assert (code, document["left"]) == (1, 2)
    assert not part.exists()
    assert young.exists()
    assert (root / "notes.txt").exists()
    assert len(list(store.list())) == 2
    assert tool("repair", "--delete", "--damaged")[1]["left"] == 1
    assert list(store.list()) == [kept[0]]


def test_one_namespace_is_looked_at_alone(store, root, tool):
    for namespace in ("team-a", "team-b"):
        store.commit(*dumps.make(namespace=namespace))
    assert tool("check", "-n", "team-b")[1]["dumps"] == 1


def test_a_hostile_name_reaches_the_terminal_escaped(store, root, capsys):
    (root / "a\x1b[2Jb").write_bytes(b"")
    (root / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    assert cli.main(["store", "check", root.as_uri()]) == 1
    out = capsys.readouterr().out
    assert "a\\x1b[2Jb" in out
    assert "\\udcff\\udcfe" in out
    assert "\x1b" not in out


def test_json_is_json_even_with_names_that_are_no_text(root, tool):
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    assert tool("check")[1]["findings"][0]["path"] == "\udcff"
