"""`coredumpd download` against a real server, from source and frozen."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gzip
import json
import os
import shutil
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, dumps, keys, sealed, waiting
from support.node import agents
from support.server import servers
from support.storage import cutting

from coredumpd.store import engines as stores

PAIR, OTHER, SSH = keys.age(), keys.age(), keys.ssh()


@dataclasses.dataclass
class World:
    """A standalone server with its store, and a directory to download into."""

    kind: str
    directory: Path
    server: servers.Server

    def __post_init__(self) -> None:
        self.store = stores.open_store(f"file://{self.directory}/store")
        self.kubeconfig = self.directory / "server/kubeconfig"
        self.out = self.directory / "out"
        for name, pair in (("key.txt", PAIR), ("other.txt", OTHER), ("id_ed25519", SSH)):
            (self.directory / name).write_bytes(pair.identity)

    def put(self, core: bytes, pair: keys.Pair | None = None, **fields):
        made = dumps.make(core, **fields) if pair is None else sealed.make(core, pair, **fields)
        return self.commit(made)

    def commit(self, made):
        self.store.commit(*made)
        token = (self.directory / "server/token").read_text().strip()
        client = servers.Client(
            self.server.port,
            self.directory / "server/tls.crt",
            headers={"Authorization": f"Bearer {token}"},
        )
        path = f"{servers.BASE}/namespaces/{made[0].namespace}/coredumps"
        # A listing may be half a second old.
        waiting.until(
            "it in a listing", lambda: made[0].id in str(client.ask("GET", path).json), 30, 0.05
        )
        return self.out / made[0].container / made[0].id

    def download(self, *words: str, identity: str | None = None):
        opener = () if identity is None else ("--identity", str(self.directory / identity))
        done = subprocess.run(
            self.command(*opener, *words),
            capture_output=True,
            text=True,
            env=agents.environment(),
            timeout=90,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def command(self, *words: str) -> list[str]:
        program = [*agents.program(self.kind), "download", "--kubeconfig", str(self.kubeconfig)]
        return [*program, "-o", str(self.out), *words]

    def sent(self) -> int:
        """How often a download was begun."""
        return self.server.log.read_text().count("subresource=proxy")

    def through(self, port: int) -> None:
        """From now on by way of `port`."""
        config = json.loads(self.kubeconfig.read_bytes())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig = self.directory / "elsewhere"
        self.kubeconfig.write_text(json.dumps(config))


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "store").mkdir()
    words = ["--standalone", "--data-dir", str(tmp_path / "server"), "--port", "0"]
    words += ["--store", f"file://{tmp_path}/store"]
    with servers.running("source", words, tmp_path / "server.log") as server:
        yield World(kind, tmp_path, server)


def files(place: Path) -> set[str]:
    return set(os.listdir(place)) if place.exists() else set()


def test_every_dump_of_a_pod_arrives_verified_and_a_second_time_nothing_is_sent(world):
    first = world.put(b"one " * 900_000, pid=1)
    second = world.put(b"two", container="side", pid=2)
    world.put(b"of another", namespace="team-b", pid=3)
    done = world.download("-n", "team-a", "web-0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"{first}/core", f"{second}/core"]
    assert (first / "core").read_bytes() == b"one " * 900_000
    assert json.loads((second / "meta.json").read_bytes())["core"]["size"] == 3
    assert (first / "core").stat().st_mode & 0o777 == 0o600
    assert files(first) == {"core", "meta.json"}
    before = (first / "core").stat().st_ino
    again = world.download("-n", "team-a", "web-0")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert (first / "core").stat().st_ino == before
    assert world.sent() == 2


def test_what_is_there_but_damaged_is_fetched_again(world):
    place = world.put(b"memory" * 1000)
    world.download("-n", "team-a", "web-0")
    for spoil in (b"", b"x" * 6000):
        (place / "core").write_bytes(spoil)
        assert world.download("-n", "team-a", "web-0").returncode == 0
        assert (place / "core").read_bytes() == b"memory" * 1000


def test_one_container_one_uid_or_one_dump_can_be_chosen(world):
    app, side = world.put(b"a", pid=1), world.put(b"b", container="side", pid=2)
    assert world.download("-n", "team-a", "--container", "side", "web-0").returncode == 0
    assert (files(app), files(side)) == (set(), {"core", "meta.json"})
    assert world.download("-n", "team-a", "--uid", "another", "web-0").returncode == 66
    assert world.download("-n", "team-a", "--id", app.name).returncode == 0
    assert files(app) == {"core", "meta.json"}


@pytest.mark.parametrize(("pair", "identity"), [(PAIR, "key.txt"), (SSH, "id_ed25519")])
def test_a_sealed_core_is_opened_and_is_the_one_the_kernel_sent(world, pair, identity):
    core = os.urandom(3_000_000) + crashers.HEAP_MARKERS[0] * 50_000
    place = world.put(core, pair)
    done = world.download("-n", "team-a", "web-0", identity=identity)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(place) == {"core", "meta.json"}
    found = (place / "core").read_bytes()
    assert (
        f"{zlib.crc32(found):08x}" == json.loads((place / "meta.json").read_text())["core"]["crc32"]
    )
    assert found == core


def test_without_an_identity_that_fits_the_sealed_core_is_kept_and_the_way_to_open_it_told(world):
    core = b"secret " * 300_000
    place, plain = world.put(core, PAIR, pid=1), world.put(b"plain", pid=2)
    for identity in (None, "other.txt"):
        done = world.download("-n", "team-a", "web-0", identity=identity)
        assert done.returncode == 77
        assert "fits" in done.stderr if identity else "encrypted" in done.stderr
        assert "--identity FILE" in done.stderr
        assert PAIR.recipient in done.stderr
        assert files(place) == {"core.gz.age", "meta.json"}
        assert done.stdout.split() == [f"{plain}/core"]  # the others do not suffer
    assert world.download("-n", "team-a", "web-0", identity="key.txt").returncode == 0
    assert (place / "core").read_bytes() == core
    assert world.sent() == 2  # not sent again


@pytest.mark.skipif(shutil.which("age") is None, reason="needs Debian's age")
def test_debians_age_opens_what_is_kept(world):
    core = os.urandom(500_000)
    place = world.put(core, PAIR)
    world.download("-n", "team-a", "web-0")
    command = f"age -d -i {world.directory}/key.txt {place}/core.gz.age | gunzip"
    opened = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert opened.stdout == core


@pytest.fixture
def cut(world: World) -> Iterator[tuple[bytes, Path, cutting.Meter]]:
    """A core of 20 MB, its place, and a way to the server that cuts once, after 5 MB."""
    core = os.urandom(20_000_000)
    place = world.put(core)
    with contextlib.closing(cutting.Meter(world.server.port, 5_000_000)) as proxy:
        world.through(proxy.port)
        yield core, place, proxy


def test_a_connection_that_is_cut_is_continued_where_it_was(world, cut):
    core, place, proxy = cut
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 0, done.stderr
    assert (place / "core").read_bytes() == core
    assert "again from byte" in done.stderr
    assert world.sent() == 2
    assert 20_000_000 < proxy.passed < 24_000_000  # what came before the cut did not come again


def test_a_download_that_was_killed_goes_on_where_it_was(world, cut):
    core, place, proxy = cut
    with subprocess.Popen(
        world.command("-n", "team-a", "web-0"),
        stderr=subprocess.PIPE,
        text=True,
        env=agents.environment(),
        start_new_session=True,
    ) as killed:
        assert killed.stderr is not None
        assert "again from byte" in killed.stderr.readline()
        os.killpg(killed.pid, signal.SIGKILL)
    assert "archive.tar.gz.part" in files(place)
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 0, done.stderr
    assert proxy.passed < 24_000_000  # what the first had got did not come again
    assert (place / "core").read_bytes() == core
    assert files(place) == {"core", "meta.json"}


@pytest.mark.parametrize("left", [b"no archive", b"of another"])
def test_what_an_earlier_download_left_of_something_else_is_not_gone_on_with(world, left):
    place = world.put(b"memory" * 1000)
    place.mkdir(parents=True)
    archive = gzip.compress(bytes(512)) if left == b"of another" else left
    (place / "archive.tar.gz.part").write_bytes(archive)
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 0, done.stderr
    assert "from the start" in done.stderr
    assert (place / "core").read_bytes() == b"memory" * 1000
    assert files(place) == {"core", "meta.json"}


def test_two_downloads_of_one_dump_do_not_meet(world):
    place = world.put(b"memory")
    place.mkdir(parents=True)
    with (place / "archive.tar.gz.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = world.download("-n", "team-a", "web-0")
    assert done.returncode != 0
    assert "another download" in done.stderr


def test_a_server_whose_store_holds_other_bytes_than_it_says_is_not_believed(world):
    made = dumps.make(b"memory" * 1000)
    made[1].raw["core"]["crc32"] = "00000000"
    place = world.commit(made)
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 74
    assert "it should be 6000 bytes with CRC-32 00000000" in done.stderr
    assert files(place) == set()


def test_a_disk_that_refuses_is_said(world):
    world.put(b"memory")
    world.out.write_text("a file")
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 74
    assert "Not a directory" in done.stderr or "File exists" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name a POD"),
        (("web-0", "--id", "x"), 2, "name a POD, or one dump"),
        (("--id", "x", "--uid", "y"), 2, "--id names one dump"),
        (("nobody",), 66, "no dumps of pod nobody in namespace default"),
        (("web-0", "--context", "nowhere"), 78, "nowhere"),
        (("web-0", "--kubeconfig", "/nonexistent"), 78, "no way to reach Kubernetes"),
        (("web-0", "--identity", "/nonexistent"), 2, "--identity /nonexistent: No such file"),
        (("web-0", "--identity", "/etc/passwd"), 2, "line 1 must be a secret key of age"),
    ],
)
def test_a_mistake_is_one_sentence(world, words, code, said):
    done = world.download(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
