"""Check that core.gz still is as its record says, in one pass while it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

from coredumpd import errors
from coredumpd.formats import record as records
from coredumpd.gzipio import reader


def checked(
    core: BinaryIO, record: records.CrashRecord, took: Callable[[], None] = lambda: None
) -> BinaryIO:
    """A reader of `core`, from its start; it raises BadRecord unless `record` describes `core`.

    `took` is called at every read.
    """
    return cast(BinaryIO, _CheckedReader(core, record, took))


class _CheckedReader:
    """Reads `core` and counts; raises BadRecord at the end unless `record` describes it."""

    def __init__(
        self, core: BinaryIO, record: records.CrashRecord, took: Callable[[], None]
    ) -> None:
        self._core = core
        self._took = took
        self._record = record
        self._restart()

    def _restart(self) -> None:
        self._reader = reader.Reader()
        self._stored_size = 0

    def tell(self) -> int:
        """As io.IOBase.tell."""
        return self._core.tell()

    def seek(self, offset: int) -> int:
        """Only back to the start, to read all of it again."""
        self._restart()
        return self._core.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """As io.RawIOBase.read."""
        self._took()
        data = self._core.read(size)
        self._stored_size += len(data)
        if data:
            self._count(data)
        else:
            self._verify()
        return data

    def _count(self, data: bytes) -> None:
        try:
            self._reader.count(data)
        except reader.DamagedError as error:
            raise errors.BadRecord(f"{self._record.id}: core.gz is damaged: {error}") from error

    def _verify(self) -> None:
        size, crc32 = self._record.content
        expected = {"size": size, "crc32": crc32, "storedSize": self._record.stored_size}
        actual = {
            "size": self._reader.size,
            "crc32": f"{self._reader.crc32:08x}",
            "storedSize": self._stored_size,
        }
        problems = [
            f"{name} is {value}, meta.json says {expected[name]}"
            for name, value in actual.items()
            if expected[name] != value
        ]
        if self._reader.cut:
            problems.append("its last gzip member is cut")
        if problems:
            raise errors.BadRecord(f"{self._record.id}: core.gz is damaged: {'; '.join(problems)}")
