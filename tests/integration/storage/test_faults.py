"""Real faults of real stores: what a caller is told, and that nothing is lost.

docs/store.md has a row for each; the last test here holds it to that.
"""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import dumps, waiting
from support.storage import ceph

from coredumpd import errors
from coredumpd.settings import backends
from coredumpd.store import engines as stores
from coredumpd.store import interface
from coredumpd.store.bucket import clouds

LARGE = random.Random(5).randbytes(16_000_000)


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def again(store, dump) -> None:
    """What the agent does later: the same commit, from the spool's file."""
    store.commit(dump[0], dump[1], io.BytesIO(dump[2].getvalue()))


def whole(store, dump) -> bool:
    opened = store.open_core(dump[0])
    try:
        read: bytes = opened.read_at(0, opened.size)
        return read == dump[2].getvalue()
    finally:
        opened.close()


def refused(store, dump, saying: str | None = None) -> None:
    with pytest.raises(errors.StorageError, match=saying):
        again(store, dump)


@pytest.fixture
def mounted(tmp_path: Path, tmpfs: Path) -> Iterator[Path]:
    """`tmpfs` once more at another place, as a store's mount: it can go and come back."""
    where = tmp_path / "mounted"
    where.mkdir()
    (tmpfs / "store").mkdir()
    mount("--bind", tmpfs, where)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=False)


@pytest.fixture
def bucket(between, url_of) -> interface.Store:
    return stores.open_store(url_of("rgw"), backends.BucketSettings(endpoint=between.endpoint))


def test_a_directory_that_is_gone(mounted, tmpfs):
    store = stores.open_store((mounted / "store").as_uri())
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(store, before)
    subprocess.run(["umount", str(mounted)], check=True)
    refused(store, after, "not there; create the directory or mount it")
    with pytest.raises(errors.StorageError, match="not there"):
        list(store.list())
    mount("--bind", tmpfs, mounted)
    again(store, after)
    assert whole(store, before)
    assert whole(store, after)


def test_a_directory_that_is_read_only(tmpfs):
    store = stores.open_store(tmpfs.as_uri())
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(store, before)
    mount("-o", "remount,ro", tmpfs)
    try:
        refused(store, after, "Read-only file system")
        with pytest.raises(errors.StorageError, match="Read-only"):
            store.delete(before[0])
        assert whole(store, before)
    finally:
        mount("-o", "remount,rw", tmpfs)
    again(store, after)
    assert len(list(store.list())) == 2


def test_a_directory_that_is_full(tmpfs):
    store = stores.open_store(tmpfs.as_uri())
    before, after = dumps.make(LARGE[:9_000_000], pid=1), dumps.make(LARGE[:10_000_000], pid=2)
    again(store, before)
    refused(store, after, "No space left on device")
    assert list(store.list()) == [before[0]]
    assert os.statvfs(tmpfs).f_bavail * os.statvfs(tmpfs).f_frsize > 6_000_000, "the part is gone"
    store.delete(before[0])
    again(store, after)
    assert whole(store, after)


def test_a_directory_that_hangs(cluster, url_of):
    store = stores.open_store(url_of("cephfs"))
    dump = dumps.make(LARGE[:3_000_000])
    osd = cluster.child("ceph-osd")
    osd.send_signal(signal.SIGSTOP)
    try:
        committing = threading.Thread(target=again, args=(store, dump))
        committing.start()
        committing.join(2)
        assert committing.is_alive(), "it waits for the storage"
    finally:
        osd.send_signal(signal.SIGCONT)
    committing.join(60)
    assert whole(store, dump)


def test_a_bucket_that_is_gone(between, bucket):
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(bucket, before)
    between.refusing = True
    between.hang_up()
    refused(bucket, after)
    with pytest.raises(errors.StorageError):
        list(bucket.list())
    between.well()
    again(bucket, after)
    assert whole(bucket, before)
    assert whole(bucket, after)


def test_a_bucket_that_does_not_exist(between, s3_bucket):
    store = stores.open_store("s3://nobodys-bucket/x", s3_bucket)
    refused(store, dumps.make(), "no such bucket")
    with pytest.raises(errors.StorageError, match="no such bucket"):
        list(store.list())
    with pytest.raises(errors.StorageError, match="no such bucket"):
        store.read_record(dumps.make()[0])


def test_a_bucket_that_refuses_the_credentials(s3_bucket, url_of, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-never-shown")
    store = stores.open_store(url_of("rgw"), s3_bucket)
    with pytest.raises(errors.StorageError, match="credentials come from") as caught:
        again(store, dumps.make())
    assert "wrong-and" not in str(caught.value)


def test_a_bucket_that_is_read_only(cluster, bucket):
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(bucket, before)
    cluster.admin("user", "modify", "--uid=tests", "--op-mask=read")
    try:
        refused(bucket, after, "403")
        assert whole(bucket, before)
    finally:
        cluster.admin("user", "modify", "--uid=tests", "--op-mask=read,write,delete")
    again(bucket, after)
    assert whole(bucket, after)


def test_a_bucket_that_is_full(cluster, bucket):
    scope = ("--quota-scope=user", "--uid=tests")
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(bucket, before)
    cluster.admin("quota", "set", *scope, "--max-objects=1")
    cluster.admin("quota", "enable", *scope)
    try:
        refused(bucket, after, "QuotaExceeded")
        assert list(bucket.list()) == [before[0]]
        assert whole(bucket, before)
    finally:
        cluster.admin("quota", "disable", *scope)
    again(bucket, after)
    assert whole(bucket, after)


def test_a_bucket_at_one_megabyte_a_second(between, bucket):
    dump = dumps.make(LARGE[:7_000_000])
    between.rate = 1e6
    again(bucket, dump)
    between.rate = None
    assert whole(bucket, dump)


def test_a_bucket_that_hangs(cluster, between, url_of, monkeypatch):
    monkeypatch.setattr(clouds, "_SMALL_S", 1)
    store = stores.open_store(url_of("rgw"), backends.BucketSettings(endpoint=between.endpoint))
    dump = dumps.make()
    gateway = cluster.child("radosgw")
    gateway.send_signal(signal.SIGSTOP)
    try:
        refused(store, dump)
    finally:
        gateway.send_signal(signal.SIGCONT)
    between.well()
    again(store, dump)
    assert whole(store, dump)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\x00 not HTTP at all",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b'HTTP/1.1 200 OK\r\nETag: "x"\r\nLast-Modified: Sun, 22 Nov 2026 16:00:00 GMT\r\n'
        b"Content-Length: 9\r\nConnection: close\r\n\r\n<a>yes</a>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
    ids=["not-http", "a-portal", "a-portal-with-etag", "cut-short", "404-for-everything"],
)
def test_a_bucket_that_answers_garbage(between, bucket, answer):
    before, after = dumps.make(b"before", pid=1), dumps.make(b"after", pid=2)
    again(bucket, before)
    between.garbage = answer
    between.hang_up()
    with pytest.raises((errors.StorageError, errors.NotFound)):
        again(bucket, after)
    between.well()
    assert whole(bucket, before)
    again(bucket, after)
    assert list(bucket.list()) == sorted([before[0], after[0]], key=str)


def test_a_connection_cut_in_the_middle_of_a_multipart_upload(between, bucket):
    dump = dumps.make(LARGE)
    between.cut_upload_after(8_000_000)
    again(bucket, dump)  # the part is sent again, the others are not
    assert between.cuts == 1
    assert whole(bucket, dump)


def test_a_connection_lost_in_the_middle_of_a_multipart_upload(between, bucket):
    dump = dumps.make(LARGE)
    losing = threading.Thread(
        target=lambda: (
            waiting.until("half is sent", lambda: between.cuts, 30, 0.01),
            setattr(between, "refusing", True),
            between.hang_up(),
        )
    )
    between.cut_upload_after(8_000_000)
    losing.start()
    refused(bucket, dump)
    losing.join()
    between.well()
    assert list(bucket.list()) == []
    with pytest.raises(errors.NotFound):
        bucket.open_core(dump[0])
    again(bucket, dump)
    assert whole(bucket, dump)


def test_bytes_spoilt_on_the_way_to_a_bucket(between, bucket):
    dump = dumps.make(LARGE[:7_000_000])
    between.flip_requests = True
    refused(bucket, dump)
    between.well()
    assert list(bucket.list()) == []
    again(bucket, dump)
    assert whole(bucket, dump)


def test_every_fault_has_its_row_in_the_documentation():
    page = (Path(__file__).parents[3] / "docs/store.md").read_text()
    tests = [name for name in dir(sys.modules[__name__]) if name.startswith("test_a")]
    missing = [
        name for name in (*tests, "test_bytes_spoilt_on_the_way_to_a_bucket") if name not in page
    ]
    assert not missing
