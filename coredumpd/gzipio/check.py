"""Does core.gz still hold what its record says? Checked while it is being read, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

from isal import isal_zlib

from coredumpd import errors
from coredumpd.formats import record as records
from coredumpd.gzipio import member

_CHUNK_BYTES = 1024 * 1024
_ISIZE_BYTES = 4


def checked(
    core: BinaryIO, crash: records.CrashRecord, took: Callable[[], None] = lambda: None
) -> BinaryIO:
    """`core`, to be read from its start; raises BadRecord unless it is what `crash` says.

    `took` is called whenever some of it was asked for.
    """
    return cast(BinaryIO, _CheckedReader(core, crash, took))


class _CheckedReader:
    """Reads `core` through; at its end, raises BadRecord unless it is what `crash` says."""

    _tail: bytes
    _member_size: int

    def __init__(
        self, core: BinaryIO, crash: records.CrashRecord, took: Callable[[], None]
    ) -> None:
        self._core = core
        self._took = took
        self._crash = crash
        self._restart()

    def _restart(self) -> None:
        self._begin_member()
        self.size = 0
        self.crc32 = 0
        self.stored_size = 0

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
        self.stored_size += len(data)
        if data:
            self._feed(data)
        else:
            self._judge()
        return data

    def _feed(self, data: bytes) -> None:
        pending = False  # the inflater has output that needs no more input
        while data or pending:
            try:
                chunk = self._inflate.decompress(data, _CHUNK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
                raise errors.BadRecord(f"{self._crash.id}: core.gz is damaged: {error}") from error
            pending = len(chunk) == _CHUNK_BYTES
            self.size += len(chunk)
            self.crc32 = isal_zlib.crc32(chunk, self.crc32)
            over = self._inflate.eof
            rest = self._inflate.unused_data if over else self._inflate.unconsumed_tail
            self._member_size += len(chunk)
            self._tail = (self._tail + data[: len(data) - len(rest)])[-_ISIZE_BYTES:]
            data = rest
            if over:
                self._end_member()
                pending = False

    def _end_member(self) -> None:
        """ISA-L has compared the member's CRC, not its length (RFC 1952: ISIZE, modulo 2^32)."""
        if int.from_bytes(self._tail, "little") != self._member_size % 2**32:
            raise errors.BadRecord(
                f"{self._crash.id}: core.gz is damaged: a member's length is off"
            )
        self._begin_member()

    def _begin_member(self) -> None:
        self._inflate = isal_zlib.decompressobj(member.GZIP_WINDOW)
        self._member_size = 0
        self._tail = b""  # the last bytes that were read of this member

    def _judge(self) -> None:
        size, crc32 = self._crash.content
        stored_size = self._crash.raw["core"]["storedSize"]
        said = {"size": size, "crc32": crc32, "storedSize": stored_size}
        found = {"size": self.size, "crc32": f"{self.crc32:08x}", "storedSize": self.stored_size}
        wrong = [
            f"{name} is {value}, meta.json says {said[name]}"
            for name, value in found.items()
            if said[name] != value
        ]
        if self._tail:
            wrong.append("its last gzip member is cut")
        if wrong:
            raise errors.BadRecord(f"{self._crash.id}: core.gz is damaged: {'; '.join(wrong)}")
