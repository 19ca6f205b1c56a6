"""`coredumpd store` as it is shipped, on a real bucket and a real disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support import dumps, waiting
from support.node import agents
from support.storage import ceph, meddler

from coredumpd.settings import backends
from coredumpd.store import engines as stores
from coredumpd.store import interface

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ACCESS_KEY_ID": ceph.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": ceph.SECRET_KEY,
}


@pytest.fixture
def filled(url_of) -> interface.Store:
    """A directory store of 30 dumps."""
    store = stores.open_store(url_of("ext4"))
    for pid in range(30):
        store.commit(*dumps.make(os.urandom(200_000), pid=pid))
    return store


@pytest.fixture
def config(tmp_path: Path, s3_bucket) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"bucket: {{endpoint: '{s3_bucket.endpoint}'}}\n")
    return path


def start(kind, *words) -> subprocess.Popen[str]:
    command = [*agents.program(kind), "store", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdout=pipe, stderr=pipe, start_new_session=True
    )


def run(kind, *words) -> tuple[int, str, str]:
    process = start(kind, *words)
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err
    return process.returncode, out, err


def test_a_migration_that_is_killed_continues_where_it_ended(
    kind, cluster, filled, url_of, tmp_path, credentials
):
    target = url_of("rgw")
    slow = meddler.Meddler(int(cluster.endpoint.rsplit(":", 1)[1]))
    config = tmp_path / "slow.yaml"
    config.write_text(f"bucket: {{endpoint: '{slow.endpoint}'}}\n")
    slow.rate = 400_000
    words = ("migrate", f"file://{filled.root}", target, "--to-config", config, "--parallel", "2")
    through = stores.open_store(target, backends.BucketSettings(endpoint=cluster.endpoint))
    first = start(kind, *words)
    try:
        waiting.until("some are there", lambda: len(list(through.list())) >= 3, 60)
    finally:
        # A onefile executable is two processes; the second would finish the work.
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    there = len(list(through.list()))
    assert there < 30
    slow.well()
    code, out, err = run(kind, *words, "-o", "json")
    slow.close()
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["copied"] + answer["already"] == 30
    assert answer["already"] >= there
    assert list(through.list()) == list(filled.list())
    code, out, _ = run(
        kind,
        "check",
        target,
        "--config",
        config_for(tmp_path, cluster),
        "--decompress",
        "--grace",
        "0",
    )
    assert (code, out.splitlines()[-1].split(",")[0]) == (0, "30 dumps")


def config_for(tmp_path, cluster) -> Path:
    path = tmp_path / "direct.yaml"
    path.write_text(f"bucket: {{endpoint: '{cluster.endpoint}'}}\n")
    return path


def test_usage_of_a_bucket_is_a_table(kind, url_of, config, s3_bucket, credentials):
    url = url_of("rgw")
    store = stores.open_store(url, s3_bucket)
    store.commit(*dumps.make(os.urandom(300_000)))
    code, out, err = run(kind, "usage", url, "--config", config, "--by", "container")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[:4] == ["team-a", "web-0", dumps.POD_UID, "app"]


def test_an_orphan_in_a_bucket_is_found_and_removed_only_when_told(
    kind, url_of, config, s3_bucket, credentials
):
    url = url_of("rgw")
    store = stores.open_store(url, s3_bucket)
    key, entry, core = dumps.make()
    store.commit(key, entry, core)
    store.discard(f"{key}/meta.json")
    where = (url, "--config", config, "--grace", "0")
    code, out, _ = run(kind, "check", *where)
    assert code == 1
    assert out.startswith(f"no-record    {key}: a core of")
    assert run(kind, "repair", *where)[0] == 1
    assert [file.path for file in store.files()] == [f"{key}/core.gz"]
    assert run(kind, "repair", *where, "--delete")[0] == 0
    assert list(store.files()) == []


def test_a_bucket_that_is_not_there_is_one_sentence(kind, config):
    code, _, err = run(kind, "usage", "s3://nobodys-bucket/x", "--config", config)
    assert code == 74
    assert err == "coredumpd: s3://nobodys-bucket/x: there is no such bucket\n"
