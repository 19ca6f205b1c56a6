from __future__ import annotations

import io
import zlib

import pytest

from coredumpd import errors
from coredumpd.store import reader


class Core:
    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read_at(self, offset, size):
        return self.data[offset : offset + size]

    def close(self):
        pass


def test_it_reads_as_a_file_and_can_start_again():
    data = bytes(range(256)) * 9000
    file = reader.verified(Core(data), f"{zlib.crc32(data):08x}")
    assert file.tell() == 0
    assert file.read(1000) == data[:1000]
    file.seek(0)
    assert b"".join(iter(lambda: file.read(300_000), b"")) == data


def test_the_last_bytes_are_an_error_when_they_do_not_verify():
    file = reader.verified(Core(b"rotten"), "00000000")
    with pytest.raises(errors.StorageError, match="not 00000000"):
        file.read()


def test_without_a_crc_it_is_a_plain_file():
    assert reader.verified(Core(b"plain"), None).read() == b"plain"


def test_it_seeks_nowhere_else():
    with pytest.raises(io.UnsupportedOperation):
        reader.verified(Core(b"x" * 3_000_000), None).seek(2_500_000)
