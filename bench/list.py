"""`kubectl get coredumps` in a namespace of a tenth of the store: the first page of 500, warm.

The store grows from 1,000 to 100,000 dumps; what that costs is printed, in time and in memory.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import dumps
from support.server import servers

from bench import processes, report
from coredumpd.formats import names

STORES = (1_000, 10_000, 100_000)
NAMESPACES = 10
PER_POD = 5
ROUNDS = 5
LIST_MS_MAX = 300.0
MEMORY_MIB_MAX = 512.0
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
URL = servers.BASE + "/namespaces/team-0/coredumps?limit=500"


def run() -> Iterator[report.Line]:
    with tempfile.TemporaryDirectory(prefix="cd-bench-") as name:
        data = Path(name) / "data"
        kind = "frozen" if servers.installed.FROZEN.exists() else "source"
        arguments = ["--standalone", "--data-dir", str(data), "--port", "0"]
        count = 0
        data.mkdir(mode=0o700)
        (data / "store").mkdir()
        for size in STORES:
            fill(data / "store", count, size)
            count = size
            with servers.running(kind, arguments, Path(name) / "log") as server:
                token = (data / "token").read_text().strip()
                headers = {"Authorization": f"Bearer {token}", "Accept": TABLE}
                client = servers.Client(server.port, data / "tls.crt", headers=headers)
                cold = listed_ms(client)
                warm = statistics.median(listed_ms(client) for _ in range(ROUNDS))
                memory = processes.resident_bytes(server.process.pid) / 2**20
            last = size == STORES[-1]
            yield report.Line(f"list cold, of {size}", f"{cold:.0f} ms")
            yield report.Line(
                f"list 500 of {size // NAMESPACES}, store of {size}",
                f"{warm:.0f} ms",
                warm / LIST_MS_MAX if last else None,
                at_most=1.0 if last else None,
            )
            yield report.Line(
                f"list memory, store of {size}",
                f"{memory:.0f} MiB",
                memory / MEMORY_MIB_MAX if last else None,
                at_most=1.0 if last else None,
            )


def fill(root: Path, first: int, end: int) -> None:
    """Dumps number `first` to `end` (exclusive), of ten namespaces; no core beside the records."""
    _, sample, _ = dumps.make(b"core")
    for number in range(first, end):
        raw = {**sample.raw, "process": {**sample.raw["process"], "pid": number}}
        raw["id"] = names.make_id("crasher", 1_790_000_000 + number, number, number)
        raw["namespace"] = f"team-{number % NAMESPACES}"
        raw["podUID"] = f"uid-{number // (NAMESPACES * PER_POD)}"
        place = root / raw["namespace"] / raw["podUID"] / "app" / raw["id"]
        place.mkdir(parents=True)
        (place / "meta.json").write_text(json.dumps(raw))


def listed_ms(client: servers.Client) -> float:
    """Milliseconds of one list, as its client sees it on a connection of its own."""
    begun = time.perf_counter()
    reply = client.ask("GET", URL)
    taken = (time.perf_counter() - begun) * 1000
    assert reply.code == 200, reply.body
    assert reply.json["rows"], reply.body
    return taken
