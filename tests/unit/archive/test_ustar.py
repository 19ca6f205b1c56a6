from __future__ import annotations

import io
import tarfile

import pytest

from coredumpd.archive import ustar


def _parse(blocks: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(blocks + ustar.END)) as tar:
        member = tar.next()
    assert member is not None
    return member


@pytest.mark.parametrize(
    "name", ["app/x/core", "c" * 63 + "/" + "i" * 63 + "/meta.json", "c" * 253 + "/id/core"]
)
def test_names_of_any_length_are_read_back(name: str) -> None:
    assert _parse(ustar.header(name, 0, 0)).name == name


@pytest.mark.parametrize("size", [0, 1, ustar.OCTAL_SIZE_MAX, ustar.OCTAL_SIZE_MAX + 1, 2**42 + 3])
def test_sizes_above_8_gib_are_read_back(size: int) -> None:
    assert _parse(ustar.header("app/core", size, 0)).size == size


def test_a_size_above_8_gib_is_also_in_the_field_for_readers_that_skip_pax() -> None:
    blocks = ustar.header("app/core", 2**33, 0)
    assert len(blocks) == 3 * ustar.BLOCK
    assert tarfile.nti(blocks[2 * ustar.BLOCK :][124:136]) == 2**33


def test_owner_and_mode_tell_nothing_and_mtime_is_the_crash() -> None:
    member = _parse(ustar.header("app/core", 3, 1_700_000_000))
    assert (member.mode, member.uid, member.gid, member.uname, member.gname, member.mtime) == (
        0o600,
        0,
        0,
        "",
        "",
        1_700_000_000,
    )


def test_padding_fills_the_block() -> None:
    assert [len(ustar.padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
