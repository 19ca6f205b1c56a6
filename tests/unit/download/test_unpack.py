from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import archives as samples

from coredumpd import errors
from coredumpd.archive import plan, stream, ustar
from coredumpd.download import unpack


class Files:
    def __init__(self) -> None:
        self.found: dict[str, io.BytesIO] = {}
        self.sizes: dict[str, int] = {}

    def begin(self, name: str, size: int) -> io.BytesIO:
        self.sizes[name] = size
        return self.found.setdefault(name, io.BytesIO())


def archive(core: bytes, container: str = "app", members: int = 3) -> bytes:
    store = samples.MemoryStore()
    made = plan.plan([store.add(container, core, members=members)])
    return b"".join(stream.read(made, store.open_core))


def unpacked(pieces: list[bytes]) -> tuple[Files, bool]:
    files = Files()
    unpacker = unpack.Unpacker(files.begin)
    for piece in pieces:
        unpacker.feed(piece)
    return files, unpacker.done


@given(some.binary(max_size=5000), some.integers(1, 700))
def test_whatever_pieces_it_comes_in_the_files_are_the_same(core, size):
    data = archive(core)
    files, done = unpacked([data[at : at + size] for at in range(0, len(data), size)])
    assert done
    assert files.found["core"].getvalue() == core
    assert files.found["meta.json"].getvalue().startswith(b"{")
    assert set(files.found) == {"core", "meta.json"}


def test_a_core_that_compresses_very_well_comes_out_in_pieces():
    core = bytes(20_000_000)
    files, done = unpacked([archive(core, members=1)])
    assert done
    assert files.found["core"].getvalue() == core


def test_it_is_done_only_at_the_very_end():
    data = archive(b"core" * 1000)
    for cut in (0, 1, 600, len(data) - 1):
        _, done = unpacked([data[:cut]])
        assert not done
    assert unpacked([data])[1]


def test_a_core_above_8_gib_has_its_size_from_the_header():
    size = 9 * 1024**3
    block = ustar.header("app/x-1/core", size, 0)
    files = Files()
    unpacker = unpack.Unpacker(files.begin)
    unpacker.write(block)
    unpacker.write(b"first")
    assert files.sizes == {"core": size}
    assert files.found["core"].getvalue() == b"first"


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.USTAR_FORMAT) as made:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
        made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        entry("../../etc/cron.d/x"),
        entry("/etc/passwd"),
        entry("app/x-1/core", tarfile.SYMTYPE),
        entry("app/x-1/core", tarfile.LNKTYPE),
        entry("app/x-1/core", tarfile.DIRTYPE),
        entry("app/x-1/.bashrc"),
        b"<html>captive portal</html>",
        gzip.compress(b"not a tar" * 100),
        gzip.compress(b"memory")[:-8] + b"\0" * 8,
    ],
)
def test_what_is_no_archive_of_ours_is_refused(data):
    with pytest.raises(errors.StorageError, match="what came is no"):
        unpacked([data])


@given(some.binary(max_size=2000))
def test_no_bytes_make_it_fail_in_another_way(data):
    for made in (data, gzip.compress(data), gzip.compress(ustar.header("a/b/core", 3, 0) + data)):
        try:
            files, _ = unpacked([made])
        except errors.StorageError:
            continue
        assert set(files.found) <= {"core", "meta.json", "core.gz.age"}


@pytest.mark.parametrize("block", [bytes(512), ustar.header("x", 0, 0)[:156] + b"x" + bytes(355)])
def test_blocks_without_end_around_the_files_are_refused(block):
    block = bytearray(block)
    block[124:136] = b"00000000000\0"
    unpacker = unpack.Unpacker(Files().begin)
    endless = bytes(block if block[156] else bytes(512)) * 4000
    with pytest.raises(errors.StorageError, match="too much around it"):
        unpacker.write(endless)
