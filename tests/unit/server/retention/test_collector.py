"""The collector on a real directory store; Kubernetes is a dictionary that can be away."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from support import dumps
from support.kube import podspecs

from coredumpd import errors
from coredumpd.formats import annotations as annotated
from coredumpd.formats import crash_loop, layout, quota_notice
from coredumpd.server import cluster, metrics
from coredumpd.server.dumps import in_use, proofs
from coredumpd.server.retention import collector, deleted_pods, quota
from coredumpd.settings import file, sections
from coredumpd.store import engines as stores

CREATED = "2026-09-01T00:00:00Z"
CREATED_S = 1_788_220_800


class World:
    def __init__(self, directory: Path) -> None:
        self.store = in_use.CountingStore(stores.open_store(directory.as_uri()))
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, list[dict[str, Any]]] = {}
        self.away: set[str] = set()
        self.forgotten: list[tuple[str, str]] = []
        self.leads = True
        self.keep_free = 0
        self.told: list[tuple[str, str, str, str, str]] = []
        self.config_maps: dict[str, dict[str, Any]] = {quota_notice.CONFIG_MAP: {}}

    def namespace(self, name: str, uid: str | None = None, **annotations: str) -> None:
        named = {f"{annotated.PREFIX}{key}": value for key, value in annotations.items()}
        self.namespaces[name] = {
            "metadata": {
                "name": name,
                "uid": uid or f"{name}-uid",
                "creationTimestamp": CREATED,
                "annotations": named,
            }
        }
        self.pods[name] = []

    def pod(self, namespace: str, uid: str, **annotations: str) -> None:
        self.pods[namespace].append({"metadata": {"uid": uid, "annotations": annotations}})

    def put(self, content: bytes = b"core", **changes: Any) -> layout.DumpKey:
        key, crash, core = dumps.make(content, **changes)
        self.store.commit(key, crash, core)
        return key

    def left(self) -> list[layout.DumpKey]:
        return list(self.store.list())

    def collect(self, **rules: Any) -> None:
        async def forget(namespace: str, uid: str) -> None:
            self.forgotten.append((namespace, uid))

        async def write_event(*news: str) -> None:
            self.told.append(news)  # type: ignore[arg-type]

        retention = file.check({"retention": rules}).retention
        role = collector.Collector(
            self.store,
            cluster.KubeCluster(self),
            collector.Rules(retention, sections.CrashLoopSettings(), self.keep_free),
            lambda: self.leads,
            collector.Effects(quota.Notice(self, "coredumpd").publish, write_event, forget),
            metrics.Retention(prometheus_client.CollectorRegistry()),
        )
        asyncio.run(role.collect())

    async def request(
        self, method: str, path: str, body: Any = None, *, query: Any = None, **_: Any
    ) -> tuple[int, Any]:
        if path in self.away:
            raise errors.Unavailable("away")
        if "/configmaps" in path:
            return self.config_map(method, path, body)
        words = path.removeprefix("/api/v1/namespaces").strip("/").split("/")
        if words == [""]:
            items = list(self.namespaces.values())
        elif len(words) == 1:
            if words[0] not in self.namespaces:
                raise errors.NotFound("no such namespace")
            return 200, self.namespaces[words[0]]
        else:
            items = self.pods[words[0]]
        start = int((query or {}).get("continue", 0))
        more = {"continue": str(start + 2)} if start + 2 < len(items) else {}  # pages of two
        return 200, {"metadata": more, "items": items[start : start + 2]}

    def config_map(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if name not in self.config_maps:
            raise errors.NotFound("no such ConfigMap")
        self.config_maps[name] = body
        return 200, body

    def reached(self) -> list[str]:
        return sorted(quota_notice.reached(self.config_maps[quota_notice.CONFIG_MAP]))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_dumps_of_living_pods_stay(world: World) -> None:
    world.namespace("team-a")
    for uid in ("one", "two", "three", "four", dumps.POD_UID):  # on several pages
        world.pod("team-a", uid)
    key = world.put()
    world.collect(gcThreshold="0")
    world.collect(gcThreshold="0")
    assert world.left() == [key]


def test_a_deleted_pods_dumps_go_after_the_threshold_and_its_endpoints_with_them(
    world: World,
) -> None:
    world.namespace("team-a")
    key = world.put()
    world.collect(gcThreshold="1h")
    assert world.left() == [key]
    note = world.store.read_note("team-a", dumps.POD_UID, deleted_pods.NOTE)
    assert note is not None
    assert abs(json.loads(note)["deletedAt"] - time.time()) < 60
    world.collect(gcThreshold="0")
    assert world.left() == []
    assert world.forgotten == [("team-a", dumps.POD_UID)]
    assert world.store.read_note("team-a", dumps.POD_UID, deleted_pods.NOTE) is None


def test_a_restart_forgets_no_deadline(world: World) -> None:
    world.namespace("team-a")
    world.put()
    long_ago = json.dumps({"deletedAt": time.time() - 3601}).encode()
    world.store.write_note("team-a", dumps.POD_UID, deleted_pods.NOTE, long_ago)
    world.collect(gcThreshold="1h")
    assert world.left() == []


def test_an_annotation_of_the_namespace_overrides_the_threshold(world: World) -> None:
    world.namespace("team-a", retention="0")
    world.put()
    world.collect()
    world.collect()
    assert world.left() == []


def test_a_static_pod_lives_under_the_uid_of_its_file(world: World) -> None:
    world.namespace("team-a")
    world.pods["team-a"].append(podspecs.mirror(dumps.POD_UID, "team-a"))
    key = world.put()
    world.collect(gcThreshold="0")
    world.collect(gcThreshold="0")
    assert world.left() == [key]


def test_a_deleted_namespaces_dumps_go_at_once(world: World) -> None:
    world.put()
    world.collect()
    assert world.left() == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces",
        "/api/v1/namespaces/team-a",
        "/api/v1/namespaces/team-b/pods",
    ],
)
def test_an_api_outage_deletes_nothing(world: World, path: str) -> None:
    world.namespace("team-b")
    keys = [world.put(), world.put(namespace="team-b", pod_uid="gone")]
    world.store.write_note("team-b", "gone", deleted_pods.NOTE, b'{"deletedAt": 0}')
    world.away.add(path)
    if path.endswith("/pods"):
        world.namespace("team-a")
        world.pod("team-a", dumps.POD_UID)
        world.collect()
    else:
        with pytest.raises(errors.Unavailable):
            world.collect()
    assert world.left() == keys


def test_a_namespace_made_anew_does_not_inherit(world: World) -> None:
    """The pod's uid is the same here, which cannot happen: it must not even matter."""
    world.namespace("team-a", uid="new")
    world.pod("team-a", dumps.POD_UID)
    before, after = CREATED_S - 100_000, CREATED_S + 60  # that node's clock was early
    world.put(b"a", time_s=before, pid=1, namespaceUID="old")
    world.put(b"b", time_s=after, pid=2, namespaceUID="old")
    ours = world.put(b"c", time_s=before, pid=3, namespaceUID="new")
    later = world.put(b"d", time_s=after, pid=4, namespaceUID="new")
    world.collect()
    assert sorted(world.left(), key=str) == sorted([ours, later], key=str)


def test_a_dump_without_a_namespaces_uid_is_proven_by_its_living_pod(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    key = world.put(time_s=CREATED_S + 10, namespaceUID=None)
    world.collect()
    note = world.store.read_note("team-a", dumps.POD_UID, proofs.NOTE)
    assert note == proofs.note("team-a-uid")
    world.pods["team-a"] = []  # the proof outlives the pod
    world.collect(gcThreshold="1h")
    assert world.left() == [key]


def test_a_dump_that_nobody_proves_goes_to_the_host(world: World) -> None:
    world.namespace("team-a", uid="new")
    key = world.put(b"secret", time_s=CREATED_S + 10, pod_uid="gone", namespaceUID=None)
    world.collect()
    (moved,) = world.left()
    assert (moved.namespace, moved.pod_uid, moved.id) == ("_host", "node1", key.id)
    record = world.store.read_record(moved)
    assert (record.pod_name, record.pod_uid) == ("web-0", "gone")
    with contextlib.closing(world.store.open_core(moved)) as core:
        assert gzip.decompress(core.read_at(0, core.size)) == b"secret"


def test_for_the_length_of_the_skew_a_dump_waits_for_its_proof(world: World) -> None:
    world.namespace("team-a")
    key = world.put(time_s=int(time.time()), pod_uid="young", namespaceUID=None)
    world.collect(quota=1, gcThreshold="0")
    world.collect(quota=1, gcThreshold="0")
    assert world.left() == [key]


def test_the_dumps_of_a_former_namespace_use_nothing_of_the_quota(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    far = CREATED_S + 1_000_000  # no clock is as early as that node's
    world.put(b"theirs", time_s=far, pid=1, namespaceUID="old", pod_uid="theirs")
    own = [world.put(b"x", time_s=far + number, pid=2 + number) for number in range(2)]
    world.collect(quota=2 * len(dumps.stored(b"x")))
    assert set(world.left()) >= set(own)
    assert world.told[0][4].startswith("the namespace uses 42 of its quota of 42")


def test_the_quota_of_a_namespace_is_kept(world: World) -> None:
    world.namespace("team-a", quota="100")
    world.pod("team-a", dumps.POD_UID)
    keys = [
        world.put(bytes([number]) * 10, time_s=1_790_000_000 + 3600 * number, pid=number)
        for number in range(8)
    ]
    world.collect()
    kept = world.left()
    assert keys[-1] in kept
    assert 0 < len(kept) < 8
    assert kept == keys[-len(kept) :]


def test_a_dump_that_is_being_read_is_not_removed_for_the_quota(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    keys = [world.put(b"x", time_s=1_790_000_000 + number, pid=number) for number in range(3)]
    with contextlib.closing(world.store.open_core(keys[0])):
        world.collect(quota=2 * len(dumps.stored(b"x")))
    assert keys[0] in world.left()
    assert keys[1] not in world.left()


def test_a_wrong_annotation_is_told_and_changes_nothing(world: World, caplog: Any) -> None:
    world.namespace("team-a", quota="lots")
    world.pod("team-a", dumps.POD_UID)
    key = world.put()
    world.collect()
    assert world.left() == [key]
    assert "'lots'" in caplog.text


def test_one_that_does_not_lead_any_more_stops(world: World) -> None:
    key = world.put()
    world.leads = False
    with pytest.raises(collector.NotLeadingError):
        world.collect()
    assert world.left() == [key]


def test_a_host_crash_has_no_pod_but_a_quota(world: World) -> None:
    _, crash, core = dumps.make()
    key = layout.DumpKey("_host", "node1", "sshd", crash.id)
    world.store.commit(key, crash, core)
    world.collect(gcThreshold="0")
    world.collect(gcThreshold="0")
    assert world.left() == [key]


def loop(world: World, count: int, **changes: Any) -> list[layout.DumpKey]:
    """So many crashes of one program, ten seconds apart."""
    began = 1_790_000_000
    return [
        world.put(b"core %d" % number, time_s=began + 10 * number, pid=100 + number, **changes)
        for number in range(count)
    ]


def test_of_a_crash_loop_the_first_two_and_the_last_three_keep_their_core(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    keys = loop(world, 12)
    world.collect()
    (made,) = set(world.left()) - set(keys)
    assert set(world.left()) - {made} == {*keys[:2], *keys[-3:]}
    crash = world.store.read_record(made)
    assert crash_loop.of(crash).count == 7
    assert crash.raw["core"]["truncated"]["reason"] == crash_loop.REASON
    with contextlib.closing(world.store.open_core(made)) as core:
        assert gzip.decompress(core.read_at(0, core.size)) == b""


def test_a_loop_that_goes_on_is_counted_by_one_record(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    loop(world, 7)
    world.collect()
    later = [
        world.put(b"later", time_s=1_790_000_100 + number, pid=500 + number) for number in range(4)
    ]
    world.collect()
    world.collect()
    counts = [crash_loop.of(world.store.read_record(key)).count for key in world.left()]
    assert sorted(counts) == [1, 1, 1, 1, 1, 6]
    assert set(later[-3:]) <= set(world.left())


def test_other_programs_signals_containers_and_hours_are_no_loop(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    keys = loop(world, 5)
    keys += loop(world, 5, exe="other")
    keys += loop(world, 5, container="sidecar")
    keys += [
        world.put(b"abrt", pid=900 + number, signal={"number": 6, "name": "SIGABRT"})
        for number in range(5)
    ]
    keys += [
        world.put(b"hour", time_s=1_790_010_000 + number, pid=700 + number) for number in range(5)
    ]
    world.collect()
    assert set(world.left()) >= set(keys)


def test_a_fold_that_was_cut_half_way_counts_nothing_twice(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    loop(world, 12)
    removing = world.store.delete
    left = iter([True, True, False])

    def delete(key: layout.DumpKey) -> None:
        if not next(left):
            raise errors.StorageError("away")
        removing(key)

    world.store.delete = delete  # type: ignore[method-assign]
    with pytest.raises(errors.StorageError):
        world.collect()
    world.store.delete = removing  # type: ignore[method-assign]
    world.collect()
    counts = [crash_loop.of(world.store.read_record(key)).count for key in world.left()]
    assert sorted(counts) == [1, 1, 1, 1, 1, 7]


def test_a_dump_of_a_loop_that_is_being_read_keeps_its_core_for_now(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    keys = loop(world, 12)
    with contextlib.closing(world.store.open_core(keys[5])):
        world.collect()
    assert keys[5] in world.left()
    world.collect()
    counts = [crash_loop.of(world.store.read_record(key)).count for key in world.left()]
    assert sorted(counts) == [1, 1, 1, 1, 1, 7]


def test_near_its_quota_a_namespace_is_warned_once_by_an_event(world: World) -> None:
    size = len(dumps.stored(b"x"))
    world.namespace("team-a", quota=str(size + 1))
    world.pod("team-a", dumps.POD_UID)
    world.put(b"x")
    world.collect()
    ((namespace, name, uid, reason, sentence),) = world.told
    assert (namespace, name, uid, reason) == ("team-a", "web-0", dumps.POD_UID, "CoreDumpQuota")
    assert f"{size} of its quota of {size + 1} for core dumps" in sentence


def test_a_pod_whose_dumps_go_for_the_quota_is_told(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    for number in range(3):
        world.put(b"x", time_s=1_790_000_000 + number, pid=number)
    world.collect(quota=30)
    assert [news[4] for news in world.told if "removed" in news[4]] == [
        "2 core dumps of this pod are removed: the namespace is over its quota of 30"
    ]


def test_where_the_quota_rejects_nothing_goes_and_the_agents_are_told(world: World) -> None:
    world.namespace("team-a", quota="30")
    world.namespace("team-b")
    world.pod("team-a", dumps.POD_UID)
    keys = [world.put(b"x", time_s=1_790_000_000 + number, pid=number) for number in range(3)]
    world.collect(onQuota="reject")
    assert world.left() == keys
    assert world.reached() == ["team-a"]
    assert all("no new core is kept" in news[4] for news in world.told)
    world.namespace("team-a", quota="1Gi")
    world.pod("team-a", dumps.POD_UID)
    world.collect(onQuota="reject")
    assert world.reached() == []


def test_who_evicts_rejects_nobody(world: World) -> None:
    world.namespace("team-a", quota="1")
    world.pod("team-a", dumps.POD_UID)
    world.put()
    world.collect()
    assert world.reached() == []


def test_without_the_config_map_of_the_installation_the_pass_goes_on(
    world: World, caplog: Any
) -> None:
    world.config_maps.clear()
    world.namespace("team-a", quota="1")
    world.pod("team-a", dumps.POD_UID)
    key = world.put()
    world.collect(onQuota="reject")
    assert world.left() == [key]
    assert "no ConfigMap coredumpd-quota" in caplog.text


def test_pinned_dumps_stay_and_where_they_fill_the_quota_new_ones_are_refused(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    pinned = [world.put(b"x", time_s=CREATED_S + n, pid=n, keep=True) for n in range(1, 4)]
    world.put(b"x", time_s=CREATED_S + 9, pid=9)
    world.collect(quota=50)
    assert world.left() == pinned
    assert world.reached() == ["team-a"]


def test_a_dump_that_only_its_node_vouches_for_goes_first(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    honest = [world.put(b"x", time_s=CREATED_S + n, pid=n) for n in range(1, 4)]
    capture = {"mode": "pipe", "attribution": "node"}
    world.put(b"x", time_s=CREATED_S + 9, pid=9, pod_uid="forged", capture=capture)
    world.collect(quota=3 * len(dumps.stored(b"x")))
    assert world.left() == honest


def test_a_namespace_far_over_its_quota_keeps_no_new_core_until_the_next_pass(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    for number in range(1, 10):
        world.put(b"x", time_s=CREATED_S + number, pid=number)
    world.collect(quota=100)
    assert world.reached() == ["team-a"]
    world.collect(quota=100)
    assert world.reached() == []


def test_a_namespace_keeps_so_many_dumps_and_no_more(world: World) -> None:
    world.namespace("team-a")
    for pod in ("loop", "calm"):
        world.pod("team-a", pod)
    many = [
        world.put(b"x", time_s=CREATED_S + 5000 * n, pid=n, pod_uid="loop") for n in range(1, 12)
    ]
    calm = world.put(b"x", time_s=CREATED_S + 1, pid=50, pod_uid="calm")
    world.collect(dumpsMax=10)
    assert sorted(world.left(), key=str) == sorted([calm, *many[2:]], key=str)


def test_a_disk_that_is_nearly_full_gets_dumps_of_the_largest_namespace_only(world: World) -> None:
    for namespace in ("team-a", "team-b"):
        world.namespace(namespace)
        world.pod(namespace, dumps.POD_UID)
    large = [
        world.put(b"x", time_s=CREATED_S + 5000 * n, pid=n, namespace="team-a")
        for n in (1, 2, 3, 4)
    ]
    small = [world.put(b"x", time_s=CREATED_S + n, pid=n, namespace="team-b") for n in (1, 2)]
    size = len(dumps.stored(b"x"))
    world.keep_free = 10 * size
    world.store.free_bytes = lambda: 20 * size  # type: ignore[method-assign]
    world.collect()
    assert world.left() == sorted([*large, *small], key=str)
    world.store.free_bytes = lambda: 18 * size  # type: ignore[method-assign]
    world.collect()
    assert world.left() == sorted([*large[2:], *small], key=str)
    assert any("the store's disk is nearly full" in news[4] for news in world.told)
    world.store.free_bytes = lambda: 0  # type: ignore[method-assign]
    world.collect()
    assert world.left() == sorted([large[3], small[1]], key=str)  # each pod keeps its newest


def test_where_the_quota_rejects_a_full_disk_removes_nothing(world: World) -> None:
    world.namespace("team-a")
    world.pod("team-a", dumps.POD_UID)
    keys = [world.put(b"x", time_s=CREATED_S + 5000 * n, pid=n) for n in (1, 2, 3)]
    world.keep_free = 100
    world.store.free_bytes = lambda: 0  # type: ignore[method-assign]
    world.collect(onQuota="reject")
    assert world.left() == keys
