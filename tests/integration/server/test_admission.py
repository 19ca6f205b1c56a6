"""Room for uploads: quotas hold at every commit, and a full disk is refused before it is full."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import pytest
from support import dumps
from support.server import servers, uploads

from coredumpd.formats import layout, upload
from coredumpd.formats import record as records
from coredumpd.store import interface

CORE = 100_000
QUOTA = 350_000  # three cores
Made = tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]
Start = Callable[..., uploads.World]


@pytest.fixture
def start(program: str, tmp_path: Any) -> Iterator[Start]:
    world = uploads.World(tmp_path / "world", program)
    with world.kube:

        def run(more: dict[str, Any] | None = None, **retention: Any) -> uploads.World:
            world.more, world.retention = more or {}, {"quota": QUOTA} | retention
            world.start()
            return world

        yield run
        if world.server is not None:
            world.server.stop()


def crash(world: uploads.World, number: int, pod: str = "web-0", size: int = CORE, **keys: str):
    """A new dump of a living pod, `size` bytes of core.gz or a little more."""
    world.kube.pod("team-a", pod, f"uid-{pod}", **keys)
    return dumps.make(
        os.urandom(size),
        pid=number,
        time_s=1_790_000_000 + number,
        pod_uid=f"uid-{pod}",
        podName=pod,
    )


def put(world: uploads.World, made: Made) -> servers.Reply:
    key, record, core = made
    body = upload.head(record) + core.getvalue()
    return world.client("agent").ask("PUT", upload.path(key), body)


def kept(world: uploads.World) -> list[layout.DumpKey]:
    """Dumps that have their core."""
    return [key for key, record in world.store.scan() if not record.truncated]


def used_by(files: Iterable[interface.File]) -> int:
    return sum(file.size for file in files if file.path.endswith("core.gz"))


def used(world: uploads.World) -> int:
    return used_by(world.store.files())


def test_a_quota_holds_after_every_single_upload(start):
    world = start()
    made = [crash(world, number, f"web-{number % 2}") for number in range(7)]
    for number, one in enumerate(made):
        assert put(world, one).code == 201
        assert used(world) <= QUOTA
        assert one[0] in kept(world), number
    assert len(kept(world)) == 3
    text = world.client("admin").ask("GET", "/metrics").body.decode()
    assert "coredumpd_server_upload_evictions_total 4.0" in text


@pytest.mark.parametrize("on_quota", ["evict", "reject"])
def test_uploads_at_the_same_time_do_not_pass_the_quota_together(start, on_quota):
    world = start({"uploadsMax": 32}, onQuota=on_quota)
    made = [crash(world, number, f"web-{number}") for number in range(8)]
    above: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            one, two = list(world.store.files()), list(world.store.files())
            if one == two and (size := used_by(one)) > QUOTA:  # a listing is no snapshot
                above.append(size)

    watching = threading.Thread(target=watch)
    watching.start()
    with futures.ThreadPoolExecutor(8) as pool:
        codes = [reply.code for reply in pool.map(lambda one: put(world, one), made)]
    over.set()
    watching.join()
    assert codes == [201] * 8
    assert above == []
    assert used(world) <= QUOTA
    assert 1 <= len(kept(world)) <= 3
    assert len(list(world.store.list())) >= len(kept(world))


def test_a_core_that_no_eviction_makes_room_for_is_cut_and_nothing_goes(start):
    world = start()
    small = crash(world, 1)
    assert put(world, small).code == 201
    large = crash(world, 2, "huge", QUOTA + 1)
    world.target().commit(*large)  # the agent's own code takes it as done
    world.target().commit(*large)
    assert kept(world) == [small[0]]
    record = world.store.read_record(large[0])
    assert record.raw["core"]["truncated"] == {"is": True, "reason": upload.QUOTA, "limit": 0}
    assert record.pod_name == "huge"
    written = [body for _, path, body in world.kube.asked if path.endswith("/events")]
    events = [event for event in written if event["reason"] == "CoreDumpQuota"]
    assert [event["involvedObject"]["name"] for event in events] == ["huge"]
    assert "only its record is kept" in events[0]["message"]


def test_where_the_quota_rejects_a_new_core_is_cut(start):
    world = start(onQuota="reject")
    first = [crash(world, number) for number in range(3)]
    for one in first:
        assert put(world, one).code == 201
    last = crash(world, 9, "other")
    assert put(world, last).code == 201
    assert kept(world) == [key for key, *_ in first]
    assert world.store.read_record(last[0]).truncated


def test_pins_hold_and_the_quota_too(start):
    world = start()
    pinned = [crash(world, number, keep="true") for number in range(3)]
    for one in pinned:
        assert put(world, one).code == 201
    assert put(world, crash(world, 8, "other")).code == 201
    assert kept(world) == [key for key, *_ in pinned]
    assert used(world) <= QUOTA


def test_a_dump_that_only_its_node_vouches_for_evicts_nothing(start):
    world = start()
    honest = [crash(world, number) for number in range(3)]
    for one in honest:
        assert put(world, one).code == 201
    forged = dumps.make(os.urandom(CORE), pid=77, pod_uid="never", podName="never-seen")
    assert put(world, forged).code == 201
    assert kept(world) == [key for key, *_ in honest]


def test_a_store_that_is_nearly_full_takes_nothing_and_says_when_to_come_back(start):
    world = start({"storeKeepFree": "1000Ti"})
    reply = put(world, crash(world, 1))
    assert reply.code == 503
    assert int(reply.headers["Retry-After"]) >= 60
    assert list(world.store.files()) == []
    text = world.client("admin").ask("GET", "/metrics").body.decode()
    assert 'coredumpd_server_refused_uploads_total{reason="space"} 1.0' in text


def test_a_namespace_keeps_so_many_dumps_and_no_more(start):
    world = start(dumpsMax=10, quota="1Gi")
    loop = [crash(world, number, "loop", size=10) for number in range(9)]
    calm = crash(world, 20, "calm", size=10)
    for one in [*loop, calm]:
        assert put(world, one).code == 201
    assert put(world, crash(world, 30, "new", size=10)).code == 201
    left = list(world.store.list())
    assert len(left) == 10
    assert calm[0] in left
    assert loop[0][0] not in left


def test_where_none_may_go_one_more_dump_is_refused(start):
    world = start(dumpsMax=10, quota="1Gi", onQuota="reject")
    for number in range(10):
        assert put(world, crash(world, number, size=10)).code == 201
    reply = put(world, crash(world, 30, "new", size=10))
    assert reply.code == 429
    assert int(reply.headers["Retry-After"]) > 0
    assert len(list(world.store.list())) == 10
