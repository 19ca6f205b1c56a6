"""Check that core.gz still is as its record says, in one pass while it is read."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import BinaryIO, cast

from coredumpd import errors
from coredumpd.formats import core_index
from coredumpd.formats import record as records
from coredumpd.gzipio import reader, zeros


class Content:
    """The core in core.gz, counted while core.gz is read; memory does not grow with the core."""

    def __init__(self, record: records.CrashRecord, index: core_index.Index | None) -> None:
        self._record = record
        self._index = index
        self._crcs = array.array("Q")  # of the members, in the order of core.gz
        self._sizes = array.array("Q")
        self._stored_size = 0
        self._reader = (
            reader.Reader() if index is None else reader.Reader(on_member=self._end_member)
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of core.gz. Raises `reader.DamagedError`."""
        self._stored_size += len(data)
        self._reader.count(data)

    def problems(self) -> str:
        """The differences between core.gz, now read whole, and its record; "" if there are none."""
        size, crc32 = self._record.content
        expected = {"size": size, "crc32": crc32, "storedSize": self._record.stored_size}
        size, number = self._reader.size, self._reader.crc32
        problems = []
        if self._index is not None:
            try:
                size, number = self._of_whole(self._index)
            except reader.DamagedError as error:
                problems.append(str(error))
        actual = {"size": size, "crc32": f"{number:08x}", "storedSize": self._stored_size}
        differences = core_index.differences(expected, actual)
        if differences:
            problems.append(differences)
        if self._reader.cut:
            problems.append("its last gzip member is cut")
        return "; ".join(problems)

    def _end_member(self, size: int, stored_size: int, crc32: int) -> None:
        if len(self._crcs) == core_index.ENTRIES_MAX or max(size, stored_size) >> 32:
            raise reader.DamagedError("it has more or larger members than an index can have")
        self._crcs.append(crc32)
        self._sizes.append(size << 32 | stored_size)

    def _of_whole(self, index: core_index.Index) -> tuple[int, int]:
        """Size and CRC-32 of the core with its holes. Raises DamagedError."""
        if len(index) != len(self._crcs):
            raise reader.DamagedError(f"it has {len(self._crcs)} members, its index {len(index)}")
        numbers = {offset: number for number, offset in enumerate(sorted(e[2] for e in index))}
        parts = []
        for offset, size, stored_offset, stored_size in index:
            number = numbers[stored_offset]
            if self._sizes[number] != size << 32 | stored_size:
                raise reader.DamagedError(f"the member of byte {offset} is not as its index says")
            parts.append((offset, size, self._crcs[number]))
        return index.core_size, zeros.crc32_of_core(parts, index.core_size)


def checked(
    core: BinaryIO,
    record: records.CrashRecord,
    took: Callable[[], None] = lambda: None,
    index: core_index.Index | None = None,
) -> BinaryIO:
    """A reader of `core`, from its start; it raises BadRecord unless `record` describes `core`.

    `took` is called at every read.
    """
    return cast(BinaryIO, _CheckedReader(core, record, took, index))


class _CheckedReader:
    """Reads `core` and counts; raises BadRecord at the end unless `record` describes it."""

    def __init__(
        self,
        core: BinaryIO,
        record: records.CrashRecord,
        took: Callable[[], None],
        index: core_index.Index | None,
    ) -> None:
        self._core = core
        self._took = took
        self._record = record
        self._index = index
        self._content = Content(record, index)

    def tell(self) -> int:
        """As io.IOBase.tell."""
        return self._core.tell()

    def seek(self, offset: int) -> int:
        """Only back to the start, to read all of it again."""
        self._content = Content(self._record, self._index)
        return self._core.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """As io.RawIOBase.read."""
        self._took()
        data = self._core.read(size)
        problems = ""
        try:
            if data:
                self._content.feed(data)
            else:
                problems = self._content.problems()
        except reader.DamagedError as error:
            problems = str(error)
        if problems:
            raise errors.BadRecord(f"{self._record.id}: core.gz is damaged: {problems}")
        return data
