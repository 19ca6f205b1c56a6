"""A second tenant under each flood of docs/security.md: its answers, its crashes, and the probes.

The frozen server runs in a cgroup of its manifest's memory limit, and so does the frozen agent. One
tenant, node or stranger floods them; meanwhile a second tenant asks and crashes. Bars: its 99th
percentile is at most 2 s, nothing of its own is lost or refused, no probe fails, and memory stays
below the limit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import node_floods, report, server_floods

NEEDS = ("dist/coredumpd", "gcc", "setpriv")


def run() -> Iterator[report.Line]:
    for part in (server_floods, node_floods):
        with tempfile.TemporaryDirectory(prefix="cd-") as directory:
            yield from part.lines(Path(directory))
