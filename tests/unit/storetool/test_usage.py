from __future__ import annotations

import json

import pytest
from support import dumps

from coredumpd import cli
from coredumpd.store.directory import engine


@pytest.fixture
def root(tmp_path):
    store = engine.DirectoryStore(str(tmp_path))
    for pid in range(3):
        store.commit(*dumps.make(bytes([pid]) * 5000, namespace="team-b", pid=pid))
    store.commit(*dumps.make(b"x", namespace="team-a"))
    store.commit(*dumps.make(b"y", namespace="team-a", container="sidecar"))
    return tmp_path


def usage(root, capsys, *words):
    assert cli.main(["store", "usage", root.as_uri(), "-o", "json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_namespaces_are_added_up_largest_first(root, capsys):
    answer = usage(root, capsys)
    assert [(item["namespace"], item["dumps"]) for item in answer["items"]] == [
        ("team-b", 3),
        ("team-a", 2),
    ]
    on_disk = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert answer["bytes"] == sum(item["bytes"] for item in answer["items"]) == on_disk


def test_a_pod_is_shown_by_its_name_and_uid(root, capsys):
    (item,) = usage(root, capsys, "--by", "pod", "-n", "team-b")["items"]
    assert (item["podName"], item["podUID"]) == ("web-0", dumps.POD_UID)


def test_containers_are_told_apart(root, capsys):
    items = usage(root, capsys, "--by", "container", "-n", "team-a")["items"]
    assert sorted(item["container"] for item in items) == ["app", "sidecar"]


def test_people_get_a_table_with_a_total(root, capsys):
    assert cli.main(["store", "usage", root.as_uri(), "--by", "pod"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAMESPACE", "POD", "POD", "UID", "DUMPS", "BYTES"]
    assert lines[-1].split()[:2] == ["TOTAL", "5"]


def test_what_is_no_dump_is_counted_apart(root, capsys):
    (root / "junk").write_bytes(b"1234")
    assert usage(root, capsys)["other"] == {"bytes": 4, "files": 1}
    cli.main(["store", "usage", root.as_uri()])
    assert "1 files, 4B, belong to no dump" in capsys.readouterr().out
