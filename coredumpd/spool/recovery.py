"""Recover captures of killed handlers, as truncated dumps with the reason.

The agent calls it; it is not on the crash path. Whole gzip members are kept as they are. Of a core
without an index, the readable part of a cut one is compressed again; with an index, what has no
entry yet is dropped, and is a hole.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from coredumpd import durable, errors
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.gzipio import member, reader, zeros
from coredumpd.spool import capture as captures

REASON = "the handler was killed"
# What is set aside for a person: at most so many, for so long. Beyond, of the tenant with the most
# the oldest one goes.
ASIDE_MAX = 100
ASIDE_S = 7 * 24 * 3600.0
ORPHAN_S = 3600.0  # then a `.part` that cannot be recovered is set aside
_READ_BYTES = 256 * 1024


def recover(spool: str) -> list[tuple[str, str]]:
    """Recover every orphan `.part` below `spool`: (id, text for the log) for each.

    A `.part` whose handler lives is left alone; one that cannot be attributed is set aside when it
    is ORPHAN_S old. What is set aside is removed beyond ASIDE_MAX and after ASIDE_S. Raises
    Forbidden and StorageError as `durable.open_directory` does.
    """
    directory = durable.open_directory(spool, create=True)
    try:
        names = [name for name in os.listdir(directory) if _is_capture(name)]
        done = [_recover(directory, name.removesuffix(captures.PART)) for name in sorted(names)]
        return done + _remove_aside(directory, time.time())
    finally:
        os.close(directory)


def _is_capture(name: str) -> bool:
    """Is it a `.part` of a dump? The guard itself removes that of its self-test."""
    return name.endswith(captures.PART) and not name.startswith(".")


def _recover(spool: int, id: str) -> tuple[str, str]:
    try:
        capture = captures.Capture.reopen(spool, id)
    except errors.Conflict:
        return id, "its handler is at work"
    except errors.StorageError as error:
        return id, _leave(spool, id, error)
    try:
        note = capture.noted()
        if not note and os.fstat(capture.core).st_size == 0:
            capture.discard()
            return id, "removed: its handler was killed before it wrote anything"
        record = records.CrashRecord.parse(note)
        truncated = {"is": True, "reason": REASON, "limit": None}
        index, crc32 = _indexed(capture)
        if index is not None:
            record = records.with_index(record, index, crc32, truncated)
            size = index.data_size
        else:
            result = _mend(capture.core)
            size = result.size
            record = record.with_core(
                size=size,
                storedSize=result.stored_size,
                crc32=f"{result.crc32:08x}",
                truncated=truncated,
                members=result.members,
            )
        capture.commit(record, index)
        return id, f"kept {size} bytes of a capture whose handler was killed"
    except (errors.CoredumpdError, OSError) as error:
        return id, _leave(spool, id, error)
    finally:
        capture.close()


def _leave(spool: int, id: str, problem: Exception) -> str:
    """Set an old `.part` aside, leave a young one; a text for the log."""
    part = id + captures.PART
    try:
        if time.time() - os.stat(part, dir_fd=spool, follow_symlinks=False).st_mtime < ORPHAN_S:
            return f"left alone: {problem}"
        os.rename(part, id + layout.BAD, src_dir_fd=spool, dst_dir_fd=spool)
    except OSError as error:
        return f"left alone: {problem}, and {error.strerror}"
    return f"set aside: {problem}"


def _remove_aside(spool: int, now_s: float) -> list[tuple[str, str]]:
    """Remove what `surplus` names: (name, text for the log) for each."""
    aside = []
    for name in os.listdir(spool):
        if name.endswith(layout.BAD):
            with contextlib.suppress(OSError):  # removed by hand meanwhile, or no directory
                time_s = os.stat(name, dir_fd=spool, follow_symlinks=False).st_mtime
                aside.append((time_s, _tenant(spool, name), name))
    removed = []
    for name in surplus(aside, now_s):
        try:
            durable.remove_flat(name, spool)
            removed.append((name, "removed: it was set aside, and is old or one of too many"))
        except OSError as error:
            removed.append((name, f"cannot be removed: {error.strerror}"))
    return removed


def surplus(aside: list[tuple[float, str, str]], now_s: float) -> list[str]:
    """Of entries that were set aside (time, tenant, name), the names of those that go. Pure."""
    removed = [name for time_s, _, name in aside if now_s - time_s > ASIDE_S]
    by_tenant: dict[str, list[tuple[float, str]]] = {}
    for time_s, tenant, name in aside:
        if now_s - time_s <= ASIDE_S:
            by_tenant.setdefault(tenant, []).append((time_s, name))
    for entries in by_tenant.values():
        entries.sort(reverse=True)  # the oldest last
    for _ in range(len(aside) - len(removed) - ASIDE_MAX):
        removed.append(max(by_tenant.values(), key=len).pop()[1])
    return removed


def _tenant(spool: int, name: str) -> str:
    """The tenant of an entry, "" when nothing says it. Raises OSError."""
    directory = os.open(name, durable.DIRECTORY, dir_fd=spool)
    try:
        marks = [file for file in os.listdir(directory) if file.startswith(captures.TENANT)]
        return marks[0] if marks else ""
    finally:
        os.close(directory)


def _indexed(capture: captures.Capture) -> tuple[core_index.Index | None, int]:
    """The index of the members that are whole, and the core's CRC-32; cuts core.gz after them.

    None where no entry was written: the file is then as `_mend` wants it. Raises BadRecord.
    """
    data = capture.noted_index(core_index.BYTES_MAX)
    if not data:
        return None, 0
    try:
        whole = core_index.parse(data)
        core_size, entries = whole.core_size, sorted(whole, key=lambda entry: entry[2])
    except errors.BadRecord:  # the handler was killed before the end of the capture
        core_size, entries = core_index.recover(data)
    kept, parts = [], []
    for entry in entries:
        offset, size, stored_offset, stored_size = entry
        member_data = os.pread(capture.core, stored_size, stored_offset)
        try:
            reader.one(member_data, size)
        except reader.DamagedError:
            break
        kept.append(entry)
        parts.append((offset, size, member.crc32_of(member_data)))
    if not kept:
        os.ftruncate(capture.core, 0)
        return None, 0
    core_size = max(core_size, *(offset + size for offset, size, _, _ in kept))
    index = core_index.build(core_size, kept)
    os.ftruncate(capture.core, index.stored_size)
    return index, zeros.crc32_of_core(sorted(parts), core_size)


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
