"""Recover captures of killed handlers, as truncated dumps with the reason.

The agent calls it; it is not on the crash path. Whole gzip members are kept as they are, the
readable part of a cut one is compressed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from coredumpd import durable, errors
from coredumpd.formats import record as records
from coredumpd.gzipio import member, reader
from coredumpd.spool import capture as captures

REASON = "the handler was killed"
_READ_BYTES = 256 * 1024


def recover(spool: str) -> list[tuple[str, str]]:
    """Recover every orphan `.part` below `spool`: (id, text for the log) for each.

    A `.part` whose handler lives is left alone; one that cannot be attributed stays as it is, and
    is reported at every start. Raises Forbidden and StorageError as `durable.open_directory` does.
    """
    directory = durable.open_directory(spool, create=True)
    try:
        names = [name for name in os.listdir(directory) if name.endswith(captures.PART)]
        return [_recover(directory, name.removesuffix(captures.PART)) for name in sorted(names)]
    finally:
        os.close(directory)


def _recover(spool: int, id: str) -> tuple[str, str]:
    try:
        capture = captures.Capture.reopen(spool, id)
    except errors.Conflict:
        return id, "its handler is at work"
    except errors.StorageError as error:
        return id, f"left alone: {error}"
    try:
        note = capture.noted()
        if not note and os.fstat(capture.core).st_size == 0:
            capture.discard()
            return id, "removed: its handler was killed before it wrote anything"
        record = records.CrashRecord.parse(note)
        result = _mend(capture.core)
        record = record.with_core(
            size=result.size,
            storedSize=result.stored_size,
            crc32=f"{result.crc32:08x}",
            truncated={"is": True, "reason": REASON, "limit": None},
            members=result.members,
        )
        capture.commit(record)
        return id, f"kept {result.size} bytes of a capture whose handler was killed"
    except (errors.CoredumpdError, OSError) as error:
        return id, f"left alone: {error}"
    finally:
        capture.close()


def _mend(core: int) -> member.Result:
    """Make the file a sequence of whole gzip members; returns their totals."""
    members = reader.Reader()
    for _ in _content(members, core, 0):
        pass
    result = members.whole
    # Where the last whole member ends, a cut one may begin.
    tail = [
        (len(chunk), *member.compress(chunk))
        for chunk in _content(reader.Reader(), core, result.stored_size)
    ]
    os.ftruncate(core, result.stored_size)
    os.lseek(core, result.stored_size, os.SEEK_SET)
    if not tail and not result.members:
        tail.append((0, *member.compress(b"")))
    for size, data, crc32 in tail:
        durable.write_all(core, data)
        result.add(size, len(data), crc32)
    return result


def _content(members: reader.Reader, core: int, offset: int) -> Iterator[bytes]:
    """The readable content of the gzip members from `offset` on."""
    try:
        while data := os.pread(core, _READ_BYTES, offset):
            yield from members.feed(data)
            offset += len(data)
    except reader.DamagedError:
        return
