"""Does core.gz still hold what the kernel sent? Checked while it is being read, in one pass."""

from __future__ import annotations

from typing import BinaryIO, cast

from isal import isal_zlib

from coredumpd import errors, record
from coredumpd.spool import stream

_CHUNK_BYTES = 1024 * 1024


def checked(core: BinaryIO, crash: record.CrashRecord) -> BinaryIO:
    """`core`, to be read from its start; raises BadRecord unless it is what `crash` says."""
    return cast(BinaryIO, _CheckedReader(core, crash))


class _CheckedReader:
    """Reads `core` through; at its end, raises BadRecord unless it is what `crash` says."""

    def __init__(self, core: BinaryIO, crash: record.CrashRecord) -> None:
        self._core = core
        self._crash = crash
        self._restart()

    def _restart(self) -> None:
        self._inflate = isal_zlib.decompressobj(stream.GZIP_WINDOW)
        self._fresh = True  # at a member's first byte
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
        data = self._core.read(size)
        self.stored_size += len(data)
        if data:
            self._feed(data)
        else:
            self._judge()
        return data

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                chunk = self._inflate.decompress(data, _CHUNK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub declares an instance
                raise errors.BadRecord(f"{self._crash.id}: core.gz is damaged: {error}") from error
            self._fresh = False
            self.size += len(chunk)
            self.crc32 = isal_zlib.crc32(chunk, self.crc32)
            if self._inflate.eof:
                data = self._inflate.unused_data
                self._inflate = isal_zlib.decompressobj(stream.GZIP_WINDOW)
                self._fresh = True
            else:
                data = self._inflate.unconsumed_tail

    def _judge(self) -> None:
        said = self._crash.raw["core"]
        found = {"size": self.size, "crc32": f"{self.crc32:08x}", "storedSize": self.stored_size}
        wrong = [
            f"{name} is {value}, meta.json says {said[name]}"
            for name, value in found.items()
            if said[name] != value
        ]
        if not self._fresh:
            wrong.append("its last gzip member is cut")
        if wrong:
            raise errors.BadRecord(f"{self._crash.id}: core.gz is damaged: {'; '.join(wrong)}")
