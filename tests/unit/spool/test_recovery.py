"""A killed handler's capture becomes a truncated dump; nothing is silently lost."""

from __future__ import annotations

import collections
import gzip
import os
import random
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import dumps, sparse

from coredumpd import durable
from coredumpd.formats import core_index
from coredumpd.formats import record as records
from coredumpd.gzipio import check
from coredumpd.spool import capture as writer
from coredumpd.spool import copier, recovery, stream


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[int]:
    fd = durable.open_directory(str(tmp_path), create=True)
    yield fd
    os.close(fd)


def killed(spool: int, data: bytes, cut: int) -> records.CrashRecord:
    """The `.part` of a handler killed when all but `cut` bytes of its gzip were on disk."""
    _, crash, _ = dumps.make()
    capture = writer.Capture.create(spool, crash.id, "shop")
    capture.note(crash)
    source, into = os.pipe()
    os.close(into)
    result = copier.Copier(capture.core, 2**40).copy(
        stream.Stream(source, data, time.monotonic() + 60)
    )
    os.close(source)
    os.ftruncate(capture.core, max(0, result.stored_size - cut))
    capture.close()
    return crash


def core(spool: Path, id: str) -> bytes:
    return gzip.decompress((spool / id / "core.gz").read_bytes())


@pytest.mark.parametrize("cut", [1, 8, 100_000, 20_000_000])
def test_what_is_readable_is_kept_and_marked(spool: int, tmp_path: Path, cut: int) -> None:
    data = random.Random(3).randbytes(21_000_000)
    crash = killed(spool, data, cut)
    assert recovery.recover(str(tmp_path))[0][0] == crash.id
    kept = core(tmp_path, crash.id)
    assert data.startswith(kept)
    # Deflate is decoded block by block: what is lost is the last block and what was cut.
    assert len(kept) > len(data) - cut - 1_100_000
    meta = records.CrashRecord.parse((tmp_path / crash.id / "meta.json").read_bytes()).raw["core"]
    assert meta["truncated"] == {"is": True, "reason": recovery.REASON, "limit": None}
    assert meta["size"] == len(kept)
    assert meta["crc32"] == f"{zlib.crc32(kept):08x}"
    assert meta["storedSize"] == (tmp_path / crash.id / "core.gz").stat().st_size


def test_a_capture_killed_after_its_last_byte_loses_nothing(spool: int, tmp_path: Path) -> None:
    crash = killed(spool, b"abc" * 1000, 0)
    recovery.recover(str(tmp_path))
    assert core(tmp_path, crash.id) == b"abc" * 1000


def test_a_capture_with_no_byte_of_core_is_still_a_dump(spool: int, tmp_path: Path) -> None:
    crash = killed(spool, b"abc", 100)
    recovery.recover(str(tmp_path))
    assert core(tmp_path, crash.id) == b""


def test_a_capture_at_work_is_left_alone(spool: int, tmp_path: Path) -> None:
    capture = writer.Capture.create(spool, "busy", "shop")
    assert recovery.recover(str(tmp_path)) == [("busy", "its handler is at work")]
    assert os.listdir(tmp_path) == ["busy.part"]
    capture.close()


def test_an_empty_part_is_removed_and_reported(spool: int, tmp_path: Path) -> None:
    writer.Capture.create(spool, "nothing", "shop").close()
    assert "removed" in recovery.recover(str(tmp_path))[0][1]
    assert os.listdir(tmp_path) == []


def test_a_part_that_nobody_can_attribute_is_kept_and_reported(spool: int, tmp_path: Path) -> None:
    capture = writer.Capture.create(spool, "unknown", "shop")
    os.write(capture.core, b"bytes")
    capture.close()
    assert "left alone" in recovery.recover(str(tmp_path))[0][1]
    assert os.listdir(tmp_path) == ["unknown.part"]


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_part_that_is_no_directory_is_left_alone(spool: int, tmp_path: Path, what: str) -> None:
    path = tmp_path / "planted.part"
    path.symlink_to("/etc") if what == "link" else path.write_text("")
    assert "left alone" in recovery.recover(str(tmp_path))[0][1]


ASIDE = st.lists(
    st.tuples(
        st.floats(0, 2 * recovery.ASIDE_S), st.sampled_from(["shop", "team-a", "team-b", ""])
    ),
    max_size=3 * recovery.ASIDE_MAX,
)


@given(ASIDE)
def test_what_is_set_aside_is_bounded_and_who_has_most_loses_its_oldest(
    aged: list[tuple[float, str]],
) -> None:
    now_s = 2 * recovery.ASIDE_S
    aside = [(time_s, tenant, str(number)) for number, (time_s, tenant) in enumerate(aged)]
    removed = set(recovery.surplus(aside, now_s))
    kept = [one for one in aside if one[2] not in removed]
    assert len(kept) <= recovery.ASIDE_MAX
    assert all(now_s - time_s <= recovery.ASIDE_S for time_s, _, _ in kept)
    lost = [one for one in aside if one[2] in removed and now_s - one[0] <= recovery.ASIDE_S]
    counts = collections.Counter(tenant for _, tenant, _ in kept)
    for time_s, tenant, _ in lost:
        assert len(kept) == recovery.ASIDE_MAX
        assert counts[tenant] >= max(counts.values()) - 1
        assert all(time_s <= other for other, owner, _ in kept if owner == tenant)


def test_an_old_capture_without_a_record_is_set_aside_and_goes_after_a_week(
    spool: int, tmp_path: Path
) -> None:
    for name, age_s in (("young", 0.0), ("old", 2 * recovery.ORPHAN_S)):
        capture = writer.Capture.create(spool, name, "shop")
        os.write(capture.core, b"core")
        capture.close()
        then = time.time() - age_s
        os.utime(tmp_path / f"{name}.part", (then, then))
    outcomes = dict(recovery.recover(str(tmp_path)))
    assert outcomes["young"].startswith("left alone")
    assert outcomes["old"].startswith("set aside")
    assert sorted(os.listdir(tmp_path)) == ["old.bad", "young.part"]
    then = time.time() - 2 * recovery.ASIDE_S
    os.utime(tmp_path / "old.bad", (then, then))
    assert "old.bad" in dict(recovery.recover(str(tmp_path)))
    assert os.listdir(tmp_path) == ["young.part"]


STACK, HEAP, SIZE = 2**30, 2**20, 2**36
PARTS = {0: b"headers " * 512, STACK: b"stack " * 2048, HEAP: bytes(range(256)) * 16384}
ORDER = [STACK, 0, HEAP]  # four members, the last three MiB of the heap after the stack


def killed_sparse(spool: int, cut: int, index_cut: int, whole: bool = False) -> records.CrashRecord:
    """The `.part` of a handler killed before the last bytes of core.gz and core.index."""
    _, crash, _ = dumps.make()
    stored, index, _ = sparse.pack(PARTS, SIZE, ORDER)
    capture = writer.Capture.create(spool, crash.id, "shop")
    capture.note(crash)
    os.write(capture.core, stored[: len(stored) - cut])
    entries = sorted(index, key=lambda entry: entry[2])
    appended = core_index.header(SIZE) + b"".join(core_index.entry(*entry) for entry in entries)
    descriptor = capture.new_index()
    os.write(descriptor, index.data if whole else appended[: len(appended) - index_cut])
    os.close(descriptor)
    capture.close()
    return crash


@pytest.mark.parametrize(
    ("cut", "index_cut", "whole", "kept"),
    [
        (0, 0, False, 6),
        (0, 0, True, 6),  # killed between the whole index and the rename
        (1, 0, False, 5),  # the last member is not whole
        (0, 1, False, 5),  # the last entry is not whole
        (0, 3 * 24, False, 3),
        (10_000_000, 0, False, 0),
        (0, 6 * 24, False, 0),
    ],
)
def test_the_members_that_an_index_names_are_kept_and_the_rest_is_a_hole(
    spool: int, tmp_path: Path, cut: int, index_cut: int, whole: bool, kept: int
) -> None:
    crash = killed_sparse(spool, cut, index_cut, whole)
    recovery.recover(str(tmp_path))
    entry = tmp_path / crash.id
    record = records.CrashRecord.parse((entry / "meta.json").read_bytes())
    assert record.truncated
    if not kept:
        assert record.index is None
        assert not (entry / "core.index").exists()
        assert core(tmp_path, crash.id) == b""
        return
    index = core_index.of_record(record, (entry / "core.index").read_bytes())
    assert index is not None
    assert (len(index), index.core_size) == (kept, SIZE)
    with open(entry / "core.gz", "rb") as file:
        assert check.checked(file, record, index=index).read()  # and its end:
        file.seek(0)
        checked = check.checked(file, record, index=index)
        assert len(b"".join(iter(lambda: checked.read(65536), b""))) == record.stored_size
