"""A process's mappings by kind, from `/proc/PID/maps` (proc(5)): where may a core have holes?

In a private anonymous mapping, a page that is neither present nor swapped reads as zeros. Of any
other mapping a page may exist without being in this process's page table. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PROTECTED_MAX = 64
_WORD_BYTES = 8
# Names of private anonymous mappings. `[vdso]`, `[vvar]`, `[uprobes]` and the like are special.
_ANONYMOUS = (b"", b"[heap]", b"[stack]")
_ANONYMOUS_PREFIX = b"[anon:"
_NO_FILE = (b"00:00", b"0")
# Private and anonymous, of huge pages: a read of a hole would take one from the node's pool.
_HUGE_PAGES, _NO_DISK = b"/anon_hugepage (deleted)", b"00:"
_READABLE, _PRIVATE = ord("r"), ord("p")


class Ranges:
    """Disjoint ranges of addresses, appended in order; 16 bytes each, adjacent ones are one."""

    __slots__ = ("_data", "_end")

    def __init__(self) -> None:
        self._data = bytearray()
        self._end = -1

    def append(self, start: int, end: int) -> None:
        """The next range, `end` exclusive."""
        if start == self._end:
            self._data[-_WORD_BYTES:] = end.to_bytes(_WORD_BYTES, "little")
        else:
            self._data += start.to_bytes(_WORD_BYTES, "little") + end.to_bytes(
                _WORD_BYTES, "little"
            )
        self._end = end

    def __len__(self) -> int:
        return len(self._data) // (2 * _WORD_BYTES)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return (self._at(number) for number in range(len(self)))

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of these ranges between `start` and `end`, in order."""
        low, high = 0, len(self)
        while low < high:  # the first that ends after `start`
            middle = (low + high) // 2
            if self._at(middle)[1] <= start:
                low = middle + 1
            else:
                high = middle
        for number in range(low, len(self)):
            first, last = self._at(number)
            if first >= end:
                return
            yield max(first, start), min(last, end)

    def _at(self, number: int) -> tuple[int, int]:
        at = 2 * _WORD_BYTES * number
        middle = at + _WORD_BYTES
        return (
            int.from_bytes(self._data[at:middle], "little"),
            int.from_bytes(self._data[middle : middle + _WORD_BYTES], "little"),
        )


class Mappings:
    """Feed it `maps` in pieces, cut anywhere."""

    __slots__ = ("_rest", "anonymous", "modules", "protected")

    def __init__(self) -> None:
        self.anonymous = Ranges()  # private and anonymous
        self.modules = Ranges()  # private ones of files, and the kernel's own, such as [vdso]
        # Some of the private anonymous ones that the process itself may not read.
        self.protected: list[tuple[int, int]] = []
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(line)

    def _read(self, line: bytes) -> None:
        # start-end rwxp offset major:minor inode [spaces name]
        fields = line.split(None, 5)
        if len(fields) < 5 or len(fields[1]) < 4:
            return
        if fields[1][3] != _PRIVATE:
            return
        first, _, last = fields[0].partition(b"-")
        start, end = int(first, 16), int(last, 16)
        name = fields[5] if len(fields) > 5 else b""
        is_anonymous = (fields[3], fields[4]) == _NO_FILE and (
            name in _ANONYMOUS or name.startswith(_ANONYMOUS_PREFIX)
        )
        if is_anonymous or (name == _HUGE_PAGES and fields[3].startswith(_NO_DISK)):
            self.anonymous.append(start, end)
            if fields[1][0] != _READABLE and len(self.protected) < PROTECTED_MAX:
                self.protected.append((start, end))
        else:
            self.modules.append(start, end)
