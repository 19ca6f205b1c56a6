"""An etcd that was set up anew or restored: no revision is given twice, nobody waits in silence."""

from __future__ import annotations

import base64
import json
import shutil

import pytest
from support import waiting
from support.storage import etcd as etcds

from coredumpd import errors
from coredumpd.objects.etcd import engine as etcd
from coredumpd.objects.etcd import epoch

UNTIL_S = 20.0


@pytest.fixture
def own(tmp_path):
    """A cluster for this test alone, and the directory of its one member."""
    cluster = etcds.Cluster(tmp_path, users=False)
    yield cluster, tmp_path / "m0"
    cluster.stop()


def restarted(cluster):
    cluster.start(0)
    cluster.wait_ready(0)


def expires(watch):
    """Does the watch say Expired? It may say Unavailable before."""
    try:
        watch.next(0.2)
    except errors.Expired:
        return True
    except errors.Unavailable:
        pass
    return False


def test_who_continues_over_a_lost_etcd_is_expired_and_no_revision_comes_again(own, open_on):
    cluster, directory = own
    engine = open_on(cluster, root="/coredumpd/x")
    revisions = [engine.create(f"/a/{number}", b"1") for number in range(3)]
    watch = engine.watch("/a/", revisions[-1])
    watch.next(0.1)
    cluster.kill(0)
    shutil.rmtree(directory)
    restarted(cluster)
    waiting.until("the watch to expire", lambda: expires(watch), UNTIL_S, 0.05)
    watch.close()
    for revision in revisions:
        with pytest.raises(errors.Expired):
            waiting.answered(engine.check, revision)
        with pytest.raises(errors.Expired):
            engine.watch("/a/", revision).next(5)
        with pytest.raises(errors.Conflict):
            engine.update("/a/0", b"2", revision)
    assert engine.get("/a/0") is None
    later = [engine.create(f"/a/{number}", b"1") for number in range(10)]
    assert min(later) > max(revisions)


def test_a_server_that_starts_after_the_loss_expires_what_was_before(own, open_on):
    cluster, directory = own
    before = open_on(cluster, root="/coredumpd/x").create("/a/x", b"1")
    cluster.kill(0)
    shutil.rmtree(directory)
    restarted(cluster)
    engine = open_on(cluster, root="/coredumpd/x")
    with pytest.raises(errors.Expired):
        engine.check(before)
    for number in range(before % 50 + 10):  # etcd itself counts past the old revision
        engine.create(f"/a/{number}", b"1")
    with pytest.raises(errors.Expired):
        engine.watch("/a/", before).next(5)


def test_a_snapshot_restored_below_a_running_server_begins_another_epoch(own, open_on, tmp_path):
    cluster, directory = own
    one, other = open_on(cluster, root="/coredumpd/x"), open_on(cluster, root="/coredumpd/x")
    kept = one.create("/a/kept", b"1")
    assert other.get("/a/kept").revision == kept
    cluster.kill(0)
    shutil.copytree(directory, tmp_path / "snapshot")
    restarted(cluster)
    lost = [waiting.answered(one.create, f"/a/{number}", b"1") for number in range(5)]
    watch = other.watch("/a/", lost[-1])
    watch.next(0.1)
    cluster.kill(0)
    shutil.rmtree(directory)
    shutil.move(tmp_path / "snapshot", directory)
    restarted(cluster)
    item = waiting.answered(one.get, "/a/kept")
    assert item.value == b"1"
    assert item.revision > lost[-1]
    later = [one.create(f"/a/{number}", b"2") for number in range(10)]
    assert min(later) > max(lost)
    waiting.until("the other's watch to expire", lambda: expires(watch), UNTIL_S, 0.05)
    watch.close()
    for revision in lost:
        with pytest.raises(errors.Expired):
            other.check(revision)
    assert other.get("/a/kept").revision == item.revision


def test_a_snapshot_of_another_cluster_begins_another_epoch(own, open_on):
    cluster, _ = own
    engine = open_on(cluster, root="/coredumpd/x")
    before = engine.create("/a/x", b"1")
    key = base64.b64encode(f"/coredumpd/x{epoch.KEY}".encode()).decode()
    held = json.loads(base64.b64decode(cluster.ask("kv/range", {"key": key})["kvs"][0]["value"]))
    for value in (json.dumps({**held, "cluster": "1"}).encode(), b"not ours"):
        put = {"key": key, "value": base64.b64encode(value).decode()}
        cluster.ask("kv/put", put)
        late = open_on(cluster, root="/coredumpd/x")
        assert late.get("/a/x").revision > before
        assert engine.get("/a/x").revision == late.get("/a/x").revision
        with pytest.raises(errors.Expired):
            engine.check(before)
        before = late.get("/a/x").revision


def test_replicas_agree_on_one_epoch(own, open_on):
    cluster, _ = own
    engines = [open_on(cluster, root="/coredumpd/x") for _ in range(4)]
    revision = engines[0].create("/a/x", b"1")
    assert {engine.get("/a/x").revision for engine in engines} == {revision}
    with pytest.raises(errors.TooLargeResourceVersion):
        etcd.EtcdEngine.check(engines[1], revision + 1000)
