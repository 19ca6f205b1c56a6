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
from support import dumps

from coredumpd import durable
from coredumpd.formats import record as records
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
