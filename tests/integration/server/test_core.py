"""The core itself over the API: ranges of a core of 64 GiB, of which only the members are read."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import tarfile
from pathlib import Path

import pytest
from support import dumps, keys, sealed, sparse
from support.server import servers

COREDUMPS = servers.BASE + "/namespaces/team-a/coredumps"
GIB = 2**30
SIZE = 64 * GIB
NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(98_304))  # 3 MiB
PARTS = {0: b"\x7fELF" + b"head" * 2047, 40 * GIB: NOISE, 2**20: b"heap" * 4096}
ORDER = [40 * GIB, 0, 2**20]  # the stack first


@pytest.fixture
def url(world) -> str:
    made = sparse.make(PARTS, SIZE, ORDER)
    world.store.commit(*made)
    return f"{COREDUMPS}/{made[0].id}/proxy"


def ranged(world, url, first, last):
    reply = world.proxied().ask("GET", f"{url}/core", headers={"Range": f"bytes={first}-{last}"})
    assert reply.code == 206
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert int(reply.headers["Content-Length"]) == last - first + 1
    return reply.body


def test_a_range_of_a_core_of_64_gib_is_answered_from_the_members_that_hold_it(world, url):
    assert ranged(world, url, 0, 3) == b"\x7fELF"
    start = 40 * GIB
    assert ranged(world, url, start - 5, start + 1_500_000) == bytes(5) + NOISE[:1_500_001]
    assert ranged(world, url, start + 2**20 - 1, start + 2**20) == NOISE[2**20 - 1 : 2**20 + 1]
    assert ranged(world, url, SIZE - 3, SIZE - 1) == bytes(3)


def test_head_tells_the_size_and_the_etag_is_that_of_a_range(world, url):
    reply = world.proxied().ask("HEAD", f"{url}/core")
    assert (reply.code, reply.body, int(reply.headers["Content-Length"])) == (200, b"", SIZE)
    tag = reply.headers["ETag"]
    again = world.proxied().ask("GET", f"{url}/core", headers={"If-None-Match": tag})
    assert again.code == 304
    beyond = world.proxied().ask("GET", f"{url}/core", headers={"Range": f"bytes={SIZE}-"})
    assert (beyond.code, beyond.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


def test_a_core_without_an_index_is_served_too(world):
    core = bytes(range(256)) * 20_000
    made = dumps.make(core)
    world.store.commit(*made)
    path = f"{COREDUMPS}/{made[0].id}/proxy/core"
    assert world.proxied().ask("GET", path).body == core
    part = world.proxied().ask("GET", path, headers={"Range": "bytes=3000000-3000009"})
    assert part.body == core[3_000_000:3_000_010]


def test_a_sealed_core_is_not_served_and_the_answer_says_why(world):
    made = sealed.make(b"secret", keys.age())
    world.store.commit(*made)
    reply = world.proxied().ask("GET", f"{COREDUMPS}/{made[0].id}/proxy/core")
    assert reply.code == 404
    assert "encrypted" in reply.json["message"]


def test_a_damaged_member_cuts_the_answer(world, url):
    (key,) = [key for key in world.store.list() if key.id in url]
    path = Path(world.store.root) / str(key) / "core.gz"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(http.client.IncompleteRead):
        ranged(world, url, 40 * GIB, 40 * GIB + len(NOISE) - 1)
    path.write_bytes(whole)


@pytest.mark.parametrize("reader", ["tar", "bsdtar", "python"])
def test_tools_unpack_the_archive_and_leave_the_core_sparse(world, url, tmp_path, reader):
    reply = world.proxied().ask("GET", url)
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    (tmp_path / "dump.tar.gz").write_bytes(reply.body)
    if reader == "python":
        with tarfile.open(tmp_path / "dump.tar.gz") as archive:
            archive.extractall(tmp_path)
    else:
        if not any(Path(place, reader).exists() for place in ("/bin", "/usr/bin")):
            pytest.skip(f"{reader} is not installed")
        command = [reader, "-zxvf", str(tmp_path / "dump.tar.gz"), "-C", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (core,) = tmp_path.glob("app/*/core")
    assert core.stat().st_size == SIZE
    assert core.stat().st_blocks * 512 < 8 * 2**20
    with core.open("rb") as file:
        for offset, data in PARTS.items():
            file.seek(offset)
            assert file.read(len(data) + 100) == data + bytes(100)


def test_without_sparse_files_busybox_unpacks_the_whole_core(world, tmp_path):
    parts = {0: NOISE, 70 * 2**20: b"stack" * 4096}
    made = sparse.make(parts, 80 * 2**20, order=[70 * 2**20, 0])
    world.store.commit(*made)
    url = f"{COREDUMPS}/{made[0].id}/proxy?sparse=false"
    reply = world.proxied().ask("GET", url)
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    rest = world.proxied().ask("GET", f"{url}&offset=1000000").body
    assert rest == reply.body[1_000_000:]
    (tmp_path / "dump.tar.gz").write_bytes(reply.body)
    reader = "busybox tar" if Path("/bin/busybox").exists() else "tar"
    command = [*reader.split(), "-zxf", str(tmp_path / "dump.tar.gz"), "-C", str(tmp_path)]
    subprocess.run(command, check=True)
    (core,) = tmp_path.glob("app/*/core")
    assert core.read_bytes() == sparse.core(parts, 80 * 2**20)
