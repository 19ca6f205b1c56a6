from __future__ import annotations

import os

import pytest
from support import dumps

from coredumpd import durable, errors
from coredumpd.store.directory import dump


@pytest.fixture
def place(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_copy_answers_the_crc_of_the_stored_bytes(place, tmp_path):
    import zlib

    _, record, core = dumps.make(b"x" * 3_000_000)
    assert dump.copy_verified(core, place, record) == zlib.crc32(core.getvalue())
    assert (tmp_path / "core.gz").read_bytes() == core.getvalue()


def test_a_file_is_never_written_over_another(place):
    durable.write_new("meta.json", place, b"1")
    with pytest.raises(FileExistsError):
        durable.write_new("meta.json", place, b"2")


def test_a_record_that_is_none_says_so(place):
    durable.write_new("meta.json", place, b"[]")
    with pytest.raises(errors.BadRecord, match="object"):
        dump.read_record(place)
