"""`coredumpd download` against a real server, from source and frozen."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, dumps, keys, sealed
from support import sparse as holed
from support.node import agents
from support.server import servers, standalone
from support.storage import cutting

from coredumpd import durable

PAIR, OTHER, SSH = keys.age(), keys.age(), keys.ssh()


class World(standalone.Standalone):
    """The server, and a directory to download into."""

    def __init__(self, kind: str, directory: Path, server: servers.Server) -> None:
        super().__init__(directory, server)
        self.kind = kind
        self.directory = directory
        self.out = self.directory / "out"
        for name, pair in (("key.txt", PAIR), ("other.txt", OTHER), ("id_ed25519", SSH)):
            (self.directory / name).write_bytes(pair.identity)
            (self.directory / name).chmod(0o600)

    def put(self, core: bytes, pair: keys.Pair | None = None, **fields):
        made = dumps.make(core, **fields) if pair is None else sealed.make(core, pair, **fields)
        return self.put_made(made)

    def put_made(self, made):
        self.commit(*made)
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
    with standalone.running(tmp_path) as server:
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


def test_a_core_with_holes_arrives_with_its_holes(small_disk):
    place = small_disk.put_made(holed.make(PARTS, 64 * 2**30, [2**35, 0]))
    done = small_disk.download("-n", "team-a", "web-0")
    assert (done.returncode, done.stderr) == (0, "")
    check_holed(place)


def test_a_sealed_core_with_holes_is_opened_with_its_holes(small_disk):
    place = small_disk.put_made(sealed.with_holes(PARTS, 64 * 2**30, PAIR))
    assert small_disk.download("-n", "team-a", "web-0").returncode == 77
    assert files(place) == {"core.tar.gz.age", "meta.json"}
    done = small_disk.download("-n", "team-a", "web-0", identity="key.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert files(place) == {"core", "meta.json"}
    check_holed(place)


PARTS = {0: b"head" * 1024, 2**35: b"stack" * 4096}


def check_holed(place: Path) -> None:
    assert (place / "core").stat().st_size == 64 * 2**30
    assert (place / "core").stat().st_blocks * 512 < 1_000_000
    with (place / "core").open("rb") as file:
        for offset, data in PARTS.items():
            file.seek(offset)
            assert file.read(len(data) + 10) == data + bytes(10)


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
    durable.write_whole(place / "archive.tar.gz.part", archive)
    done = world.download("-n", "team-a", "web-0")
    assert done.returncode == 0, done.stderr
    assert "from the start" in done.stderr
    assert (place / "core").read_bytes() == b"memory" * 1000
    assert files(place) == {"core", "meta.json"}


def test_two_downloads_of_one_dump_do_not_meet(world):
    place = world.put(b"memory")
    place.mkdir(parents=True)
    durable.write_whole(place / "archive.tar.gz.part", b"")
    with (place / "archive.tar.gz.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = world.download("-n", "team-a", "web-0")
    assert done.returncode != 0
    assert "another download" in done.stderr


def test_a_server_whose_store_holds_other_bytes_than_it_says_is_not_believed(world):
    made = dumps.make(b"memory" * 1000)
    made[1].raw["core"]["crc32"] = "00000000"
    place = world.put_made(made)
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


@pytest.fixture
def small_disk(world: World) -> Iterator[World]:
    """The output is a tmpfs of 16 MiB."""
    world.out.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(world.out)]
    made = subprocess.run(words, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"A SMALL DISK IS NOT TESTED: {made.stderr.strip()}")
    yield world
    subprocess.run(["umount", "-l", str(world.out)], check=True)


def sparse(core: bytes, holes: int):
    """A dump whose record tells of holes, as a handler writes it."""
    made = dumps.make(core)
    made[1].raw["core"]["sparseBytes"] = holes
    return made


def test_a_core_that_is_mostly_zeros_takes_no_more_space_than_the_rest_of_it(small_disk):
    core = b"head" + bytes(300_000_000) + b"tail"
    place = small_disk.put_made(
        sparse(core, 285 << 20)
    )  # whole chunks of zeros, as a handler counts
    done = small_disk.download("-n", "team-a", "web-0")
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "core").stat().st_blocks * 512 < 1_000_000
    assert (place / "core").read_bytes() == core


def test_what_does_not_fit_is_refused_before_it_is_sent(small_disk):
    place = small_disk.put(b"x" * 300_000_000)  # 300 KB compressed
    done = small_disk.download("-n", "team-a", "web-0")
    assert done.returncode == 74
    assert re.search(r"28\d\.\dMi are needed and 16Mi are available: make room", done.stderr)
    assert "--output" in done.stderr
    assert small_disk.sent() == 0
    assert files(place) == set()


def test_bytes_where_the_record_promised_holes_do_not_fill_the_disk(small_disk):
    place = small_disk.put_made(sparse(b"x" * 100_000_000, 100_000_000))
    done = small_disk.download("-n", "team-a", "web-0")
    assert done.returncode == 74
    assert "are available: make room" in done.stderr
    assert files(place) <= {"archive.tar.gz.part"}


def give_away(path: Path) -> None:
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda part: part.chmod(0o666),
            "archive.tar.gz.part: it belongs to uid 0 and has mode 0666",
        ),
        (lambda part: part.with_name("second").hardlink_to(part), "has 2 names"),
        (lambda part: (part.unlink(), part.symlink_to("/etc/passwd")), "is a symbolic link"),
        (lambda part: (part.unlink(), os.mkfifo(part, 0o600)), "must be a regular file"),
        (give_away, "archive.tar.gz.part: it belongs to uid 12345"),
        (lambda part: give_away(part.parent), "it belongs to uid 12345"),
        (lambda part: part.parent.chmod(0o1777), "has mode 1777; its mode must be 0755 or less"),
        (lambda part: part.parent.parent.chmod(0o770), "has mode 0770"),
        (lambda part: part.parents[2].chmod(0o777), "others must not write to it"),
    ],
)
def test_what_another_user_may_have_made_is_not_continued(world, spoil, reason):
    place = world.put(b"memory")
    other = world.put(b"memory", container="side", pid=2)
    place.mkdir(parents=True, mode=0o700)
    part = place / "archive.tar.gz.part"
    durable.write_whole(part, b"")
    with part.open("rb") as stranger:
        spoil(part)
        done = world.download("-n", "team-a", "web-0")
        assert stranger.read() == b""
    assert done.returncode == 77
    assert reason in done.stderr
    assert "--output" in done.stderr
    whole_output = "others must not write" in reason
    assert done.stdout.split() == ([] if whole_output else [f"{other}/core"])
    assert "core" not in files(place)


def test_files_that_others_may_use_are_warned_of(world):
    world.put(b"memory", PAIR)
    (world.directory / "key.txt").chmod(0o644)
    config = world.directory / "kubeconfig"
    config.write_bytes(world.kubeconfig.read_bytes())
    config.chmod(0o666)
    world.kubeconfig = config
    done = world.download("-n", "team-a", "web-0", identity="key.txt")
    assert done.returncode == 0
    assert "others may read it: chmod go-rwx" in done.stderr
    assert "others may change it: chmod go-w" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name a POD"),
        (("web-0", "--id", "x"), 2, "name a POD, or one dump"),
        (("--id", "x", "--uid", "y"), 2, "--id names one dump"),
        (("nobody",), 66, "no dumps of pod nobody in namespace default"),
        (("web-0", "--context", "nowhere"), 78, "nowhere"),
        (("web-0", "--kubeconfig", "/nonexistent"), 78, "kubeconfig /nonexistent: No such file"),
        (("web-0", "--identity", "/nonexistent"), 2, "--identity /nonexistent: No such file"),
        (("web-0", "--identity", "/etc/passwd"), 2, "line 1 must be a secret key of age"),
    ],
)
def test_a_mistake_is_one_sentence(world, words, code, said):
    done = world.download(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
