"""Receive one dump: continue what an earlier run began, and accept no more than was announced.

Tested in: tests/integration/test_download.py
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

from coredumpd import errors
from coredumpd.download import directory, space, unpack
from coredumpd.formats import api as api_names
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.kube import client

TRIES_MAX = 6  # without one byte of progress
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 10.0
# The bytes received are not the dump, or the archive is longer than the dump.
_BAD_ARCHIVE = (errors.StorageError, errors.BadRecord, errors.RangeNotSatisfiable)


class Dump(NamedTuple):
    """A dump that the server lists."""

    key: layout.DumpKey
    sizes: space.Sizes


async def fetch(
    api: client.Client,
    dump: Dump,
    place: directory.DumpDirectory,
    need: int,
    advance: Callable[[int], None],
) -> records.CrashRecord:
    """Download, verify and unpack; resume a download that this run or an earlier one began.

    `need`: the space in bytes that must be available. Raises NoSpace; StorageError or BadRecord
    when the bytes received are not that dump; and as the client does.
    """
    with place.archive() as archive:
        resumed = archive.size > 0
        try:
            record = await _fetch(api, dump, place, archive, need, advance)
        except errors.NoSpace:
            if archive.size == 0:
                archive.remove()
            raise
        except errors.NotFound:
            archive.remove()
            raise
        except _BAD_ARCHIVE as error:
            archive.clear()
            if not resumed:
                archive.remove()
                raise
            print(f"coredumpd: from the start, after an earlier try: {error}", file=sys.stderr)
            record = await _fetch(api, dump, place, archive, need, advance)
        archive.remove()
        return record


async def _fetch(
    api: client.Client,
    dump: Dump,
    place: directory.DumpDirectory,
    archive: directory.Archive,
    need: int,
    advance: Callable[[int], None],
) -> records.CrashRecord:
    namespace, id = (
        urllib.parse.quote(part, safe="") for part in (dump.key.namespace, dump.key.id)
    )
    # `proxy` is not cut after 60 s, as `dump` is.
    path = f"{api_names.PATH}/namespaces/{namespace}/coredumps/{id}/proxy"
    with (
        place.guard(max(0, need - archive.size)) as guard,
        place.new_arrival(dump.sizes, guard) as arrival,
    ):
        unpacker = unpack.Unpacker(arrival.begin)
        offset = tries = 0
        for chunk in archive.read():
            unpacker.feed(chunk)
            offset += len(chunk)
            advance(len(chunk))
        while not unpacker.done:
            query = {"offset": offset} if offset else None
            try:
                async with contextlib.aclosing(api.stream(path, query=query)) as chunks:
                    async for chunk in chunks:
                        offset, tries = offset + len(chunk), 0
                        _bound(offset, dump.sizes)
                        guard.spend(len(chunk))
                        archive.write(chunk)
                        unpacker.feed(chunk)
                        advance(len(chunk))
                if not unpacker.done:
                    raise errors.Unavailable(f"the download ended after {offset} bytes")
            except errors.Unavailable as error:
                tries += 1
                if tries >= TRIES_MAX:
                    raise
                pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** (tries - 1))
                print(f"coredumpd: again from byte {offset}: {error}", file=sys.stderr)
                await asyncio.sleep(pause_s)
        return arrival.end()


def _bound(size: int, sizes: space.Sizes) -> None:
    if size > sizes.archive_max:
        raise errors.StorageError(
            f"more than {sizes.archive_max} bytes came for a core.gz of {sizes.stored} bytes"
        )
