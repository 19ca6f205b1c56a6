"""Floods of one caller: others and probes are answered, and the flood is told to try again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time

import psutil
import pytest
from support import dumps, waiting
from support.server import floods, servers

ENDPOINTS = servers.BASE + "/namespaces/team-a/coredumpendpoints"
WATCH = f"{ENDPOINTS}?watch=true"
ANSWER_S_MAX = 10.0  # 2 s is the promise, which the benchmark measures; this machine may be loaded
GROWTH_BYTES_MAX = 300 * 2**20


@pytest.fixture(scope="module")
def small(make_world):
    """A server of few connections, watches, downloads and requests."""
    with make_world(connectionsMax=512, watchesMax=16, downloadsMax=8, requestsMax=8) as made:
        yield made


def of_token(world, name):
    """A client that sends a token of its own, directly."""
    world.kube.tokens[f"token-of-{name}"] = {"username": name}
    return world.client(Authorization=f"Bearer token-of-{name}")


def others(world, client):
    """Requests that are answered whatever somebody else does, from an address of their own."""
    kubelet = world.client()
    client.address = kubelet.address = "127.0.0.200"
    return {
        "request": lambda: client.ask("GET", ENDPOINTS),
        "livez": lambda: kubelet.ask("GET", "/livez"),
        "readyz": lambda: kubelet.ask("GET", "/readyz"),
    }


def resident(process) -> int:
    """Bytes of memory of a process and its children: a frozen server is two."""
    parent = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))


def metric(world, name, kind) -> float:
    text = world.proxied("admin").ask("GET", "/metrics").body.decode()
    return float(re.search(rf'^{name}{{kind="{kind}"}} (\S+)', text, re.MULTILINE)[1])


@pytest.mark.parametrize("way", ["direct", "front proxy"])
def test_thousands_of_watches_by_one_caller_leave_others_and_probes_alone(world, way):
    greedy = of_token(world, "greedy") if way == "direct" else world.proxied("greedy")
    other = of_token(world, "other") if way == "direct" else world.proxied("other")
    before = resident(world.server.process)
    with floods.flood(greedy) as flood:
        slowest = floods.slowest_while(
            lambda: flood.open([floods.head("GET", WATCH, greedy.headers)] * 4096),
            others(world, other),
        )
        growth = resident(world.server.process) - before
        print(f"{way}: slowest answers {slowest}, memory +{growth / 2**20:.0f} MiB")
        with floods.flood(other) as few:
            few.open([floods.head("GET", WATCH, other.headers)] * 100)
            assert set(few.codes) == {200}
    assert set(flood.codes) <= {200, 429, 0}
    assert flood.codes.count(200) == 1024  # half of watchesMax
    refused = next(answer for answer in flood.heads if b" 429 " in answer)
    assert b"\r\nRetry-After: 1\r\n" in refused
    assert max(slowest.values()) < ANSWER_S_MAX
    assert growth < GROWTH_BYTES_MAX
    assert metric(world, "coredumpd_server_refused_requests_total", "watch") > 0


def test_a_full_house_ends_a_watch_of_the_caller_with_most(small, open_watch):
    for name in ("a", "b"):
        for _ in range(8):
            open_watch(small.proxied(name), ENDPOINTS)
    late = open_watch(small.proxied("late"), ENDPOINTS)
    assert metric(small, "coredumpd_server_ended_requests_total", "watch") == 1
    assert not late.over.is_set()


def test_a_watch_that_is_ended_ends_as_others_do(small, open_watch):
    first = [open_watch(small.proxied("a"), ENDPOINTS) for _ in range(8)]
    for _ in range(8):
        open_watch(small.proxied("b"), ENDPOINTS)
    open_watch(small.proxied("late"), ENDPOINTS)
    open_watch(small.proxied("later"), ENDPOINTS)
    # The youngest of a's or b's ended, with its last chunk: the reader saw no broken connection.
    waiting.until("an end", lambda: first[-1].over.is_set(), 10)
    assert not first[0].over.is_set()


def test_refused_bodies_that_never_come_keep_nobody_out(small):
    """Strangers promise a body that would be dropped: that must not hold a place."""
    stranger = small.client(Authorization="Bearer wrong")
    headers = {**stranger.headers, "Content-Length": "999999"}
    with floods.flood(stranger, addresses=9, waits=False) as flood:
        slowest = floods.slowest_while(
            lambda: flood.open([floods.head("POST", ENDPOINTS, headers)] * 1500),
            others(small, small.proxied("other")),
        )
    assert max(slowest.values()) < ANSWER_S_MAX


def test_heads_that_never_end_keep_nobody_out(small):
    with floods.flood(small.client(), addresses=40, waits=False) as flood:
        slowest = floods.slowest_while(
            lambda: flood.open([b"GET / HTTP/1.1\r\n"] * 1500),
            others(small, small.proxied("other")),
        )
    assert max(slowest.values()) < ANSWER_S_MAX


@pytest.fixture
def slow_reviews(small):
    """Kubernetes takes two seconds for each review."""
    small.kube.delay_s = 2.0
    yield
    small.kube.delay_s = 0.0


def test_requests_in_flight_are_shared_and_the_control_plane_is_served(small, slow_reviews):
    greedy, replies = small.proxied("greedy"), []
    controller = small.proxied("system:serviceaccount:kube-system:namespace-controller")

    def ask(number: int) -> None:
        replies.append(greedy.ask("GET", f"{ENDPOINTS}/x{time.monotonic_ns()}-{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    waiting.until("the first refusal", lambda: [r for r in replies if r.code == 429], 10, 0.01)
    for client in (small.proxied("other"), controller):
        assert client.ask("GET", ENDPOINTS).code == 200
    for thread in threads:
        thread.join()
    codes = [reply.code for reply in replies]
    assert set(codes) == {404, 429}
    assert codes.count(404) <= 8
    refused = next(reply for reply in replies if reply.code == 429)
    assert refused.json["reason"] == "TooManyRequests"
    assert refused.headers["Retry-After"] == "1"
    assert refused.json["details"]["retryAfterSeconds"] == 1


@pytest.mark.parametrize("moment", ["review", "work"])
def test_who_leaves_at_once_keeps_the_place_until_the_work_is_over(small, slow_reviews, moment):
    greedy = small.proxied(f"hasty-{moment}")

    def path() -> str:
        """Names no two reviews share, or what is allowed already and then looks for a pod."""
        if moment == "review":
            return f"{ENDPOINTS}/x{time.monotonic_ns()}"
        return f"{ENDPOINTS}?dryRun=All"

    method = "GET" if moment == "review" else "POST"
    body = {"metadata": {"name": "x"}, "spec": {"podUID": "uid-1"}}

    def is_refused() -> bool:
        return greedy.ask(method, path(), body if method == "POST" else None).code == 429

    assert not is_refused()  # from now on it is allowed
    with contextlib.ExitStack() as held:
        for _ in range(4):
            connection = held.enter_context(contextlib.closing(greedy.connect()))
            data = json.dumps(body) if method == "POST" else None
            headers = {**greedy.headers, "Content-Type": "application/json"}
            connection.request(method, path(), data, headers)
        waiting.until("a refusal", is_refused, 20, 0.01)
    assert is_refused()


def test_places_are_free_again_after_each_answer(small):
    client = small.proxied("patient")
    with contextlib.closing(client.connect()) as connection:
        for path in [ENDPOINTS, f"{ENDPOINTS}/missing", f"{ENDPOINTS}?limit=x"] * 8:
            connection.request("GET", path, headers=client.headers)
            with connection.getresponse() as answer:
                answer.read()
                assert answer.status in (200, 404, 400)
    for _ in range(12):
        assert client.ask("GET", ENDPOINTS).code == 200
    waiting.until(
        "no places",
        lambda: metric(small, "coredumpd_server_places_used", "request") == 1,  # this question's
        10,
    )


def test_unknown_tokens_do_not_keep_known_ones_from_being_reviewed(small, slow_reviews):
    known = of_token(small, "known")
    tokens = [{"Authorization": f"Bearer no-{number}"} for number in range(40)]
    with floods.flood(small.client(), addresses=3) as flood:
        flooding = threading.Thread(
            target=flood.open, args=([floods.head("GET", ENDPOINTS, token) for token in tokens],)
        )
        flooding.start()
        waiting.until("a refusal", lambda: 429 in flood.codes, 20, 0.01)
        flooding.join()
    assert set(flood.codes) == {401, 429}
    assert known.ask("GET", ENDPOINTS).code == 200


def test_downloads_that_nobody_reads_leave_places_for_others(small):
    key, record, core = dumps.make(os.urandom(8 * 2**20), container="app", pid=200)
    small.store.commit(key, record, core)
    greedy, other = small.proxied("slow"), small.proxied("other")
    path = f"{servers.BASE}/namespaces/team-a/coredumps/{key.id}/dump"
    with floods.flood(greedy) as flood:
        flood.open([floods.head("GET", path, greedy.headers)] * 12)
        assert flood.codes.count(200) == 4
        assert flood.codes.count(429) == 8
        reply = other.ask("GET", path)
        assert reply.code == 200
        assert len(reply.body) > 2**20
    waiting.until("places again", lambda: greedy.ask("GET", path).code == 200, 20)
