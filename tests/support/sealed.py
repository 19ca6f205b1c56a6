"""Sealed dumps made by hand."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from typing import Any

from coredumpd import sealing
from coredumpd.agent.shipping import sealed_core
from coredumpd.archive import plan, stream
from coredumpd.formats import layout
from coredumpd.formats import record as records
from support import archives, dumps, keys, sparse


def make(
    content: bytes, pair: keys.Pair, **fields: Any
) -> tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]:
    """As `dumps.make`, sealed to `pair`."""
    _, plain, core = dumps.make(content, **fields)
    return _sealed(core, plain, pair)


def with_holes(
    parts: Mapping[int, bytes], core_size: int, pair: keys.Pair
) -> tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]:
    """As `sparse.make`, sealed to `pair`."""
    key, plain, core, index = sparse.make(parts, core_size)
    dump = plan.Dump(key, plain, plain.stored_size, index)
    chunks = stream.read(plan.core_alone(dump), lambda _: archives.MemoryCore(core.getvalue()))
    return _sealed(io.BytesIO(b"".join(chunks)), plain, pair)


def _sealed(
    core: io.BytesIO, plain: records.CrashRecord, pair: keys.Pair
) -> tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]:
    to = sealing.recipients(pair.recipient)
    with tempfile.TemporaryFile(buffering=0) as file:
        members = sealed_core.Members(file)
        sealing.seal(core, members, to)
        members.end()
        file.seek(0)
        stored = file.read()
    crash = sealed_core.record_of(plain, members, to)
    return crash.key(), crash, io.BytesIO(stored)
