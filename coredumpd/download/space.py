"""The space that a dump needs on the disk, compared with what is available before and meanwhile."""

from __future__ import annotations

import dataclasses
import os

from coredumpd import errors, units
from coredumpd.formats import record as records

# Between two looks at the disk, which other processes fill as well.
CHECK_BYTES = 16 * 1024 * 1024
# An archive is longer than core.gz by meta.json and headers, in stored gzip blocks.
_MAP_FACTOR = 2  # the map of a sparse file: 24 bytes of core.index are two numbers of 19 digits
_FRAMING_BYTES_MAX = records.RECORD_BYTES_MAX + 64 * 1024


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The bytes of a dump, as `core` of its record tells them."""

    stored: int  # core.gz
    core: int  # as the kernel sent it
    holes: int  # of the core
    sealed: int | None  # the age file in core.gz; None: the core is not sealed
    index: int = 0  # core.index; 0: there is none

    @classmethod
    def parse(cls, core: object) -> Sizes:
        """The sizes in a record's or a Coredump's `core`. Raises BadRecord."""
        fields = core if isinstance(core, dict) else {}
        size = _bytes("size", fields.get("size"))
        sealed = fields.get("sealed")
        age_file = sealed if isinstance(sealed, dict) else {}
        index = fields.get("index")
        indexed = index if isinstance(index, dict) else {}
        return cls(
            stored=_bytes("storedSize", fields.get("storedSize")),
            core=size,
            holes=min(_bytes("sparseBytes", fields.get("sparseBytes") or 0), size),
            index=_bytes("index.size", indexed.get("size") or 0),
            sealed=None if sealed is None else _bytes("sealed.size", age_file.get("size")),
        )

    @property
    def archive_max(self) -> int:
        """The most bytes that the dump's archive can have."""
        return self.stored + _FRAMING_BYTES_MAX + _MAP_FACTOR * self.index

    @property
    def allocated(self) -> int:
        """Bytes that the unpacked core takes on the disk."""
        return self.core - self.holes

    def peak(self, opens: bool) -> int:
        """Bytes that archive, age file and core take at most at one time; `opens`: with a key."""
        if self.sealed is None:
            return self.archive_max + self.allocated
        return self.sealed + max(self.archive_max, self.allocated if opens else 0)


def _bytes(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise errors.BadRecord(f"core.{name} is {value!r}: must be a number of bytes")
    return value


class Guard:
    """Raises NoSpace when the disk has less than what is still to be written to it."""

    def __init__(self, directory: int, path: str, need: int) -> None:
        """`need` in bytes; `directory` is the descriptor of `path`. Raises NoSpace."""
        self._directory = directory
        self._path = path
        self._need = need
        self._unchecked = 0
        self._check(need)

    def spend(self, size: int) -> None:
        """Call it before `size` bytes are written. Raises NoSpace."""
        self._unchecked += size
        if self._unchecked >= CHECK_BYTES:
            # More comes than the record says where a hole turns out to hold bytes.
            self._check(self._need or CHECK_BYTES)
            self._unchecked = 0
        self._need = max(0, self._need - size)

    def _check(self, need: int) -> None:
        disk = os.fstatvfs(self._directory)
        available = disk.f_bavail * disk.f_frsize
        if available < need:
            raise errors.NoSpace(
                f"{self._path}: {units.format_quantity(need)} are needed and"
                f" {units.format_quantity(available)} are available:"
                " make room, or name another directory with --output"
            )
