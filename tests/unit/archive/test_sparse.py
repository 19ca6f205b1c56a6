from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import archives, sparse

from coredumpd.archive import content, plan, stream
from coredumpd.formats import core_index

BLOCK = 512
Core = tuple[dict[int, bytes], int, list[int]]


@some.composite
def cores(draw: some.DrawFn) -> Core:
    """What a core has where, its size, and the order in which it is stored."""
    parts, end = {}, 0
    shape = some.lists(some.tuples(some.integers(0, 3), some.integers(1, 4)), min_size=1)
    for hole, size in draw(shape):
        offset = end + hole * BLOCK
        parts[offset] = draw(some.binary(min_size=1, max_size=8)).ljust(size * BLOCK, b"x")
        end = offset + size * BLOCK
    rest = draw(some.integers(0, 3)) * BLOCK + draw(some.sampled_from((0, 100)))
    return parts, end + rest, draw(some.permutations(sorted(parts)))


def archive_of(core: Core, holes: bool = True) -> tuple[plan.Plan, archives.MemoryStore, plan.Dump]:
    key, record, stored, index = sparse.make(*core, member_bytes=2 * BLOCK)
    store = archives.MemoryStore()
    store.cores[key] = stored.getvalue()
    dump = plan.Dump(key, record, len(stored.getvalue()), index)
    return plan.plan([dump], holes=holes), store, dump


@given(cores(), some.booleans(), some.data())
def test_the_core_in_the_archive_is_the_whole_core(core, holes, data):
    archive, store, dump = archive_of(core, holes)
    whole = b"".join(stream.read(archive, store.open_core))
    assert len(whole) == archive.length
    offset = data.draw(some.integers(0, len(whole)))
    assert b"".join(stream.read(archive, store.open_core, offset)) == whole[offset:]
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        _, member = tar.getmembers()
        assert member.name == f"{dump.key.container}/{dump.key.id}/core"
        assert member.size == core[1]
        assert member.issparse() == (holes and dump.index.holes > 0)
        assert tar.extractfile(member).read() == sparse.core(*core[:2])


@given(cores(), some.data())
def test_any_range_of_the_core_is_that_of_the_whole(core, data):
    _, store, dump = archive_of(core)
    whole = sparse.core(*core[:2])
    first = data.draw(some.integers(0, len(whole)))
    end = data.draw(some.integers(first, len(whole)))
    chunks = content.read(store.open_core, dump.key, dump.index, first, end)
    assert b"".join(chunks) == whole[first:end]


def test_the_two_archives_of_a_core_have_two_etags():
    core = ({0: b"x" * 4096}, 8192, [0])
    assert archive_of(core)[0].etag != archive_of(core, holes=False)[0].etag


def test_a_core_of_many_gib_costs_an_archive_no_more_than_its_data():
    core = ({0: b"x" * 4096, 2**40: b"y" * 4096}, 2**41, [0, 2**40])
    archive, store, dump = archive_of(core)
    assert archive.length < 8192
    assert isinstance(dump.index, core_index.Index)
    middle = content.read(store.open_core, dump.key, dump.index, 2**40 - 2, 2**40 + 2)
    assert b"".join(middle) == b"\0\0yy"


@pytest.mark.parametrize("size", [1, 2, 258, 259, 260, 511, 512, 513, 100_000, 2**20])
def test_zeros_are_written_as_gzip_without_being_made(size):
    data = b"".join(piece * count for piece, count in sparse_archive_hole(size))
    assert gzip.decompress(data) == bytes(size)
    assert len(data) < 110 + size // 1000


def sparse_archive_hole(size: int) -> list[tuple[bytes, int]]:
    from coredumpd.archive import sparse as archived

    return list(archived.hole(size))


def test_a_hole_of_any_size_is_a_few_members_again_and_again():
    ((data, count), (rest, once)) = sparse_archive_hole(2**40 + 512)
    assert (count, once) == (2**40 // 2**26, 1)
    inflate = zlib.decompressobj(31)
    assert sum(
        len(inflate.decompress(data[at : at + 4096])) for at in range(0, len(data), 4096)
    ) == (2**26)
    assert inflate.eof
    assert gzip.decompress(rest) == bytes(512)


@pytest.mark.parametrize("reader", ["tar", "bsdtar"])
def test_a_core_that_ends_in_a_hole_has_its_size(reader: str, tmp_path: Path) -> None:
    if subprocess.run(["which", reader], capture_output=True).returncode:
        pytest.skip(f"{reader} is not installed")
    core = ({4096: b"x" * 4096}, 2**33, [4096])
    archive, store, _ = archive_of(core)
    (tmp_path / "a.tar.gz").write_bytes(b"".join(stream.read(archive, store.open_core)))
    subprocess.run([reader, "-xzf", tmp_path / "a.tar.gz", "-C", tmp_path], check=True)
    (out,) = tmp_path.glob("app/*/core")
    assert out.stat().st_size == 2**33
    assert out.stat().st_blocks * 512 < 2**20
