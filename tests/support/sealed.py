"""Sealed dumps made by hand."""

from __future__ import annotations

import io
import tempfile
from typing import Any

from coredumpd import sealing
from coredumpd.agent.shipping import sealed_core
from coredumpd.formats import layout
from coredumpd.formats import record as records
from support import dumps, keys


def make(
    content: bytes, pair: keys.Pair, **fields: Any
) -> tuple[layout.DumpKey, records.CrashRecord, io.BytesIO]:
    """As `dumps.make`, sealed to `pair`."""
    _, plain, core = dumps.make(content, **fields)
    to = sealing.recipients(pair.recipient)
    with tempfile.TemporaryFile(buffering=0) as file:
        members = sealed_core.Members(file)
        sealing.seal(core, members, to)
        members.end()
        file.seek(0)
        stored = file.read()
    crash = sealed_core.record_of(plain, members, to)
    return crash.key(), crash, io.BytesIO(stored)
