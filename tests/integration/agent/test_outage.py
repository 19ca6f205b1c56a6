"""A node whose store fails: it goes on capturing, says so, and then everything arrives.

Three containers crash all the while. docs/store.md has a row for each fault; the last test here
holds it to that. `make soak` runs the first test with an outage of an hour. Since one program runs
the same way from both, only some of it is tested on the frozen executable too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting
from support.kube import fakekube, podspecs
from support.node import agents, mounts, outage
from support.storage import meddler

from coredumpd.settings import backends
from coredumpd.store import engines as stores
from coredumpd.store import interface

OUTAGE_S = float(os.environ.get("COREDUMPD_OUTAGE_S", "20"))
LONG = OUTAGE_S > 700  # then the defaults' own times are what is tested
STUCK_S = 600 if LONG else 3
EVERY_S = 1.5 if LONG else 0.4
RESIDENT_KIB_MAX = 96 * 1024
GARBAGE = {
    "not-http": b"\xff\x00 not HTTP at all",
    "a-portal": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
source = pytest.mark.parametrize("kind", ["source"], indirect=True)
_numbers = itertools.count()


@pytest.fixture
def crashes(
    node: agents.Agent, kube: fakekube.FakeKube, tmp_path: Path
) -> Iterator[outage.Crashes]:
    """Containers on `node`, in pods that the API has, of a namespace that all know alike."""
    kube.objects["/api/v1/namespaces/shop"] = podspecs.namespace("shop", "shop-uid")
    with contextlib.ExitStack() as stack:
        if not LONG:
            node.settings["stuckAfter"] = f"{STUCK_S}s"
        made = outage.Crashes(node, tmp_path, stack)
        for pod in made.pods:
            name = pod.names["name"]
            document = podspecs.pod("shop", name, pod.uid)
            kube.objects[f"/api/v1/namespaces/shop/pods/{name}"] = document
            kube.objects[f"/api/v1/pods/shop.{name}"] = document
        yield made


@pytest.fixture
def mount(node: agents.Agent, tmp_path: Path) -> Iterator[mounts.Mount]:
    """The node's store is a directory below this."""
    with mounts.mounted(tmp_path / "storage") as made:
        node.store = made.at / "store"
        node.store.mkdir()
        node.settings["store"] = node.store.as_uri()
        yield made


@pytest.fixture
def bucket(node, between, cluster) -> interface.Store:
    """The node's store is in a bucket behind a proxy; this is the way around the proxy."""
    name = f"outage-{next(_numbers)}"
    reach = cluster.bucket(name)
    node.settings["store"] = f"s3://{name}/dumps"
    node.extra["bucket"] = {"endpoint": between.endpoint}
    return stores.open_store(node.settings["store"], backends.BucketSettings(**reach))


@pytest.fixture
def line(node, world) -> Iterator[meddler.Meddler]:
    """The node's store is the server `world`, behind this proxy."""
    made = meddler.Meddler(world.port)
    node.settings["store"] = f"https://127.0.0.1:{made.port}"
    node.extra["upload"] = world.settings()
    yield made
    made.close()


@pytest.fixture
def tale(node, kube, crashes) -> outage.Tale:
    return outage.Tale(node, kube, crashes, STUCK_S)


def resident(node: agents.Agent) -> str:
    return f"{node.resident_kib() // 1024} MiB"


def directory_in(place: Path, node: agents.Agent) -> interface.Store:
    """The node's store is a directory there."""
    node.store = place / f"outage-{next(_numbers)}"
    node.store.mkdir()
    node.settings["store"] = node.store.as_uri()
    return stores.open_store(node.settings["store"])


@pytest.mark.timeout(600 + 2 * OUTAGE_S)
def test_a_store_that_is_away_and_comes_back(node, kube, mount, crashes):
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")
    for _ in range(3):
        crashes.crash()
    assert len(node.wait_stored(3)) == 3
    assert node.get("/healthz") == (200, "ok\n")
    mount.go()
    begun_s = time.monotonic()
    with crashes.going_on(EVERY_S):
        waiting.until("a failure", lambda: outage.measured(node, "ship_failures_total"), 60)
        waiting.until("healthz to fail", lambda: node.get("/healthz")[0] == 503, STUCK_S + 60)
        assert "shipping is stuck: a dump has failed for" in node.get("/healthz")[1]
        assert outage.measured(node, "ship_failing_seconds") > STUCK_S
        waiting.until("an Event", lambda: outage.told(kube, "CoreDumpsStuck"), 60)
        for tenth in range(1, 11):
            passed_s = OUTAGE_S * tenth / 10
            waiting.until("time", lambda: time.monotonic() > begun_s + passed_s, OUTAGE_S)  # noqa: B023
            entries, tries = (
                outage.measured(node, "spool_entries"),
                outage.measured(node, "ship_failures_total"),
            )
            print(f"{passed_s:.0f} s: {entries:.0f} wait, {tries:.0f} tries,", resident(node))
            assert crashes.spooled_bytes() <= outage.SPOOL_BYTES_MAX
            assert node.resident_kib() <= RESIDENT_KIB_MAX
        assert entries > outage.SPOOL_BYTES_MAX / outage.CORE_BYTES, "more than fit as a whole"
        mount.come()
        waiting.until("something to arrive", lambda: len(node.stored()) > 3, 120)
    story = crashes.arrived(stores.open_store(node.settings["store"]), 120 + OUTAGE_S / 4)
    print(f"all is there: {len(story.whole)} whole, {len(story.cut)} cut,", resident(node))
    assert story.cut, "the spool's limit was reached"
    assert len(story.whole) >= 5 + 3
    waiting.until("healthz", lambda: node.get("/healthz") == (200, "ok\n"), 30)
    assert outage.measured(node, "shipped_total") == crashes.count
    assert (
        outage.measured(node, "spool_entries") == outage.measured(node, "ship_failing_seconds") == 0
    )
    waiting.until("the end to be told", lambda: outage.told(kube, "CoreDumpsResumed"), 30)
    assert len(outage.told(kube, "CoreDumpsStuck")) == 1


@source
def test_a_store_that_is_read_only_for_a_while(tale, node, mount):
    store = stores.open_store(node.settings["store"])
    tale.begin(store)
    mount.become("ro")
    tale.suffer("Read-only file system")
    mount.become("rw")
    tale.end(store)


def test_a_store_that_is_full_for_a_while(tale, node, mount):
    store = stores.open_store(node.settings["store"])
    tale.begin(store)
    filler = mount.at / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    tale.suffer("No space left on device")
    filler.unlink()
    tale.end(store)


@source
@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_a_bucket_with_garbage_for_answers(tale, between, bucket, answer):
    tale.begin(bucket)
    between.garbage = answer
    between.hang_up()
    tale.suffer("a dump has failed for")
    between.well()
    tale.end(bucket)


@source
def test_a_server_with_garbage_for_answers(tale, line, world):
    tale.begin(world.store)
    line.garbage = GARBAGE["not-http"]
    line.hang_up()
    tale.suffer("https://127.0.0.1")
    line.well()
    tale.end(world.store)


@source
def test_a_bucket_that_accepts_and_never_answers(tale, cluster, bucket):
    tale.begin(bucket)
    gateway = cluster.child("radosgw")
    gateway.send_signal(signal.SIGSTOP)
    try:
        tale.suffer("taken no byte|has failed")
    finally:
        gateway.send_signal(signal.SIGCONT)
    tale.end(bucket)


@source
def test_a_bucket_behind_one_megabyte_a_second(tale, node, between, bucket, crashes):
    tale.begin(bucket)
    failed = outage.measured(node, "ship_failures_total")
    between.rate = 1e6
    with crashes.going_on(EVERY_S):
        waiting.until("more than fits", lambda: crashes.count > 20, 120)
        assert node.get("/healthz") == (200, "ok\n")
    crashes.arrived(bucket)
    assert outage.measured(node, "ship_failures_total") == failed


@source
def test_a_server_behind_one_megabyte_a_second(tale, node, line, world, crashes):
    tale.begin(world.store)
    failed = outage.measured(node, "ship_failures_total")
    line.rate = 1e6
    with crashes.going_on(EVERY_S):
        waiting.until("more than fits", lambda: crashes.count > 20, 120)
        assert node.get("/healthz") == (200, "ok\n")
    crashes.arrived(world.store)
    assert outage.measured(node, "ship_failures_total") == failed


def test_a_server_that_is_stopped_and_started(tale, line, world):
    tale.begin(world.store)
    world.server.stop()
    tale.suffer("https://127.0.0.1")
    world.start()
    tale.end(world.store)


@source
def test_a_server_that_is_killed_in_the_middle_of_dumps(tale, node, line, world, crashes):
    tale.begin(world.store)
    line.rate = 300_000
    for _ in range(3):
        for _ in range(3):
            crashes.crash()
        waiting.until(
            "a dump to be half there", lambda: list(world.path.rglob(".*.part")), 60, 0.01
        )
        world.server.process.kill()
        world.server.process.wait()
        world.start()
    line.well()
    crashes.arrived(world.store)
    assert outage.measured(node, "ship_failures_total") >= 3
    assert not list(world.path.rglob(".*")), "what was half there is gone"


@source
def test_a_server_behind_a_line_that_is_cut_in_the_middle_of_dumps(
    tale, node, line, world, crashes
):
    tale.begin(world.store)
    for cuts in range(1, 6):
        line.cut_upload_after(outage.CORE_BYTES // 2)
        crashes.crash()
        waiting.until("the cut", lambda: line.cuts == cuts, 90)  # noqa: B023
    crashes.arrived(world.store)
    assert outage.measured(node, "ship_failures_total") >= 5


@source
def test_a_store_that_hangs_in_the_kernel(tale, node, cluster, crashes):
    store = directory_in(cluster.mounted, node)
    tale.begin(store)
    failed = outage.measured(node, "ship_failures_total")
    osd = cluster.child("ceph-osd")
    osd.send_signal(signal.SIGSTOP)
    try:
        tale.suffer("a commit has taken no byte for .* the store hangs")
        assert outage.measured(node, "ship_failures_total") == failed
        hanging = node.process
        hanging.send_signal(signal.SIGTERM)
        # What hangs in the kernel ends when the storage answers, SIGKILL or not. All else of the
        # agent has gone, its lock too: the next one can begin.
        waiting.until("the agent to end", lambda: outage.states(hanging.pid)[:1] == ["Z"], 60)
        assert "D" in outage.states(hanging.pid)
        node.start("--no-kubernetes", "--no-core-pattern")
        crashes.crash()
        assert hanging.poll() is None
    finally:
        osd.send_signal(signal.SIGCONT)
    assert hanging.wait(60) == 0
    assert crashes.arrived(store).cut


def test_every_fault_has_its_row_in_the_documentation():
    page = (Path(__file__).parents[3] / "docs/store.md").read_text()
    tests = [name for name in dir(sys.modules[__name__]) if name.startswith("test_a")]
    assert [name for name in tests if name not in page] == []
