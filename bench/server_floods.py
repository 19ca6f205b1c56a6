"""Floods of the server: watches, lists, bodies, uploads, connections. Used by `fairness`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from support import dumps
from support.node import memory
from support.server import floods, payloads, servers, uploads

from bench import neighbour, questions, report
from coredumpd import errors

LIMIT = 512 * neighbour.MIB  # deploy.sh: limits of the server
FLOOD_S = 15.0
FLOODED = servers.BASE + "/namespaces/team-a/coredumpendpoints"
OTHER = servers.BASE + "/namespaces/team-b/coredumpendpoints"
WATCHES, CONNECTIONS, ADDRESSES = 4096, 4000, 40
OBJECTS, OBJECT_BYTES = 60, 250_000
TRICKLES = 8
KUBELET, STRANGERS = "127.0.0.200", "127.0.0.201"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
YAML = {"Content-Type": "application/yaml"}


class World(uploads.World):
    """A server in its cgroup, kube-apiserver before it, a greedy and a second tenant."""

    def user(self, name: str) -> servers.Client:
        """As kube-apiserver passes requests on."""
        crt = self.directory / "front-proxy-client.crt"
        if not crt.exists():
            self.kube.proxy_ca.issue("front-proxy-client")
        pair = (crt, crt.with_suffix(".key"))
        return servers.Client(self.port, self.authority.file, pair, {"X-Remote-User": name})

    def questions(self) -> list[questions.Question]:
        """The second tenant's, and the kubelet's."""
        client = self.user("neighbour")
        assert client.certificate is not None
        ca_file, (crt, key) = str(client.ca_file), client.certificate
        return [
            questions.Question(
                self.port, OTHER, "127.0.0.1", ca_file, (str(crt), str(key)), client.headers
            ),
            questions.Question(self.port, "/livez", KUBELET, ca_file),
            questions.Question(self.port, "/readyz", KUBELET, ca_file),
        ]


def lines(directory: Path) -> Iterator[report.Line]:
    """Every flood, each on the same server: what one leaves behind is the next one's matter."""
    world = World(directory / "world", "frozen")
    world.kube.pod("team-b", "web-0", dumps.POD_UID, "node1")
    with memory.limited(LIMIT) as group, world.kube:
        world.prefix = group.prefix
        server = world.start()
        try:
            fill(world)
            for name, flood in FLOODS.items():
                yield from measured(f"fairness {name}", world, flood)
            yield neighbour.memory("fairness server", group.pids(), LIMIT)
            kills = group.kills
            yield report.Line("fairness server: killed", f"{kills}", float(kills), at_most=0)
        finally:
            server.stop()


def measured(name: str, world: World, flood: Flood) -> Iterator[report.Line]:
    """One flood, and an honest node that uploads the second tenant's crashes meanwhile."""
    shipped = Shipped(world)
    with neighbour.asking(world.questions()) as answers, flood(world), shipped:
        time.sleep(FLOOD_S)
    yield from answers.lines(name)
    yield neighbour.stored(name, shipped.stored, shipped.total)


class Shipped(threading.Thread):
    """A second node's dumps, one after another; each is tried again as an agent does."""

    PAUSE_S, TRIES, RETRY_S = 0.5, 20, 1.0

    def __init__(self, world: World) -> None:
        super().__init__()
        self.stored = self.total = 0
        self._over = threading.Event()
        self._target = world.target()
        self._pid = int(time.monotonic())

    def run(self) -> None:
        while not self._over.wait(self.PAUSE_S):
            self.total += 1
            dump = dumps.make(
                os.urandom(neighbour.MIB), pid=self._pid + self.total, namespace="team-b"
            )
            for _ in range(self.TRIES):
                with contextlib.suppress(errors.CoredumpdError):
                    self._target.commit(*dump)
                    self.stored += 1
                    break
                dump[2].seek(0)
                time.sleep(self.RETRY_S)

    def __enter__(self) -> Shipped:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def fill(world: World) -> None:
    """The greedy tenant's objects, as many large ones as its share allows."""
    client = world.user("greedy")
    for number in range(OBJECTS):
        metadata = {"name": f"web-{number}", "annotations": {"a": "x" * OBJECT_BYTES}}
        body = {"metadata": metadata, "spec": {"podUID": "1"}}
        reply = client.ask("POST", FLOODED, body)
        assert reply.code == 201, reply.body


@contextlib.contextmanager
def quiet(_: World) -> Iterator[None]:
    """No flood, for comparison."""
    yield


@contextlib.contextmanager
def watches(world: World) -> Iterator[None]:
    greedy = world.user("greedy")
    with floods.flood(greedy) as flood:
        flood.open([floods.head("GET", f"{FLOODED}?watch=true", greedy.headers)] * WATCHES)
        yield


def lists(world: World) -> AbstractContextManager[None]:
    """Whole lists of large objects, again and again."""
    greedy = world.user("greedy")
    return floods.repeated(lambda: greedy.ask("GET", FLOODED), 16)


@contextlib.contextmanager
def unread_lists(world: World) -> Iterator[None]:
    greedy = world.user("greedy")
    with floods.flood(greedy, waits=False) as flood:
        flood.open([floods.head("GET", FLOODED, greedy.headers)] * 300)
        yield


@contextlib.contextmanager
def bodies(world: World) -> Iterator[None]:
    """Patches that grow, YAML that is slow to parse, and large JSON, all at once."""
    greedy = world.user("greedy")
    large = b'{"spec": [' + b"[]," * 300_000 + b"[]]}"
    works: list[Callable[[], object]] = [
        *(
            lambda patch=patch: greedy.ask("PATCH", f"{FLOODED}/web-0", patch, JSON_PATCH)
            for patch in payloads.PATCHES.values()
        ),
        *(
            lambda text=text: greedy.ask("POST", FLOODED, text, YAML)
            for text in payloads.YAML.values()
        ),
        lambda: greedy.ask("POST", FLOODED, large, {"Content-Type": "application/json"}),
    ]
    with contextlib.ExitStack() as stack:
        for work in works:
            stack.enter_context(floods.repeated(work, 1))
        yield


@contextlib.contextmanager
def uploads_that_trickle(world: World) -> Iterator[None]:
    slow = [uploads.Trickle(world, "agent-node2", pid, "node2") for pid in range(TRICKLES)]
    try:
        yield
    finally:
        for one in slow:
            one.close()


@contextlib.contextmanager
def connections(world: World) -> Iterator[None]:
    """Connections of strangers that say nothing, from many addresses."""
    with floods.flood(
        servers.Client(world.port, world.authority.file), addresses=ADDRESSES, waits=False
    ) as flood:
        flood.open([b""] * CONNECTIONS)
        yield


def strangers(world: World) -> AbstractContextManager[None]:
    """Unknown tokens, each another one."""
    client = servers.Client(world.port, world.authority.file)
    client.address = STRANGERS

    def ask() -> object:
        token = {"Authorization": f"Bearer {time.monotonic_ns()}"}
        return client.ask("GET", FLOODED, headers=token)

    return floods.repeated(ask, 16)


Flood = Callable[[World], AbstractContextManager[None]]
FLOODS: dict[str, Flood] = {
    "no flood": quiet,
    "watches": watches,
    "lists": lists,
    "lists nobody reads": unread_lists,
    "bodies": bodies,
    "trickling uploads": uploads_that_trickle,
    "silent connections": connections,
    "unknown tokens": strangers,
}
