"""A store that grows: listing a namespace, adding up, a collecting pass, the memory they take.

Dumps are simulated as metadata: real directories and names, one small core and record linked into
each. A namespace always holds 1000 of them, so what a tenant waits for should not grow at all, and
what a whole pass costs should grow with the number of dumps and no faster.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from bench import processes, report, synthetic
from coredumpd.formats import layout

SIZES = (10_000, 100_000, 1_000_000)
# RGW on two cores takes 500 to 900 dumps a second, and its OSD 30 kB of memory for each: a million
# need 32 GB and half an hour. What our side costs at a million is measured on a synthetic bucket.
BUCKET_SIZES = tuple(map(int, os.environ.get("BENCH_BUCKET_DUMPS", "10000,100000").split(",")))
PUTTERS, PUT_AT_ONCE = 48, 5000
# What only costs time here: logs, checksums on loopback, an index of one piece.
FAST = """\
rgw override bucket index max shards = 16
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
osd enable op tracker = false
ms crc data = false
ms crc header = false
debug ms = 0/0
debug osd = 0/0
debug rgw = 0/0
debug rados = 0/0
debug objecter = 0/0
debug objclass = 0/0
debug auth = 0/0
debug mon = 0/0
debug paxos = 0/0
debug filestore = 0/0"""
LINKS_MAX = 60_000  # ext4 allows 65000 names of one file
ROUNDS = 5
GROWTH_MAX = 2.0
MEMORY_GROWTH_MAX = 2.0
FIND = ["find", ".", "-mindepth", "5", "-name", "core.gz", "-printf", "%s %P\\n"]
_HERE = Path(__file__).parent


def run() -> Iterator[report.Line]:
    with tempfile.TemporaryDirectory(prefix="coredumpd-bench-") as directory:
        yield from _directory(Path(directory))
    yield from _bucket()
    yield from _synthetic()


def _directory(directory: Path) -> Iterator[report.Line]:
    root = directory / "store"
    root.mkdir()
    measured = {}
    count, began = 0, time.monotonic()
    for size in SIZES:
        template = _Template(directory)
        for number in range(count, size):
            template.link(root / synthetic.place(number))
        count = size
        measured[size] = {name: child(root.as_uri(), name) for name in OPERATIONS}
        done, find_s = timed(
            lambda: subprocess.run(FIND, cwd=root, capture_output=True, check=True)
        )
        assert done.stdout.count(b"\n") == size
        measured[size]["find"] = {"seconds": find_s}
        yield from _lines(f"store file:// {size:.0e}".replace("e+0", "e"), size, measured[size])
    took = time.monotonic() - began
    yield report.Line("store file:// making and measuring took", f"{took:.0f} s")
    yield from _growth("store file://", measured, "cpu_s")
    _, gone_s = timed(lambda: subprocess.run(["rm", "-rf", str(root)], check=True))
    yield report.Line("store file:// rm -rf of it all took", f"{gone_s:.0f} s")


def _bucket() -> Iterator[report.Line]:
    from obstore import store as obstores
    from support.storage import ceph

    why = ceph.missing()
    if why is not None:
        yield report.skipped("store s3://", why)
        return
    os.environ.update(AWS_ACCESS_KEY_ID=ceph.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=ceph.SECRET_KEY)
    with (
        tempfile.TemporaryDirectory(prefix="coredumpd-bench-") as directory,
        ceph.Ceph(Path(directory) / "ceph", FAST) as cluster,
    ):
        cluster.directory.mkdir()
        cluster.start()
        endpoint = cluster.gateway()
        cluster.bucket("bench")
        client = obstores.S3Store("bench", endpoint=endpoint, client_options={"allow_http": True})
        core, meta = _Template(Path(directory)).contents

        def put(number: int) -> None:
            path = synthetic.place(number)
            client.put(f"{path}/core.gz", core, use_multipart=False)
            client.put(f"{path}/meta.json", meta, use_multipart=False)

        measured, count = {}, 0
        for size in BUCKET_SIZES:
            began = time.monotonic()
            with futures.ThreadPoolExecutor(PUTTERS) as pool:
                for first in range(
                    count, size, PUT_AT_ONCE
                ):  # a future each: not a million at once
                    list(pool.map(put, range(first, min(first + PUT_AT_ONCE, size))))
            rate = (size - count) / (time.monotonic() - began)
            memory = processes.resident_bytes(cluster.child("ceph-osd").pid) / 2**20
            count = size
            measured[size] = {name: child("s3://bench", name, endpoint) for name in OPERATIONS}
            yield report.Line(
                f"store s3:// {size} dumps put", f"{rate:.0f}/s, OSD {memory:.0f} MiB"
            )
            yield from _lines(f"store s3:// {size}", size, measured[size])
        yield from _growth("store s3://", measured, "seconds")


def _synthetic() -> Iterator[report.Line]:
    """Our side alone, at the sizes of the directory: a bucket that is made while it is listed."""
    os.environ.update(AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nothing")
    measured = {}
    for size in SIZES:
        command = [sys.executable, "-m", "bench.synthetic", str(size)]
        with subprocess.Popen(command, cwd=_HERE.parent, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
                measured[size] = {name: child("s3://bench", name, endpoint) for name in OPERATIONS}
            finally:
                server.terminate()
        yield from _lines(
            f"store s3:// synthetic {size:.0e}".replace("e+0", "e"), size, measured[size]
        )
    yield from _growth("store s3:// synthetic", measured, "cpu_s")


def _lines(name: str, size: int, measured: dict[str, Any]) -> Iterator[report.Line]:
    for operation in OPERATIONS:
        answer = measured[operation]
        seconds, memory = answer["seconds"], answer["kib"] / 1024
        value = f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
        ratio = None
        if operation != "namespace" and "find" in measured:
            ratio = seconds / measured["find"]["seconds"]
        cpu = "" if operation == "namespace" else f", {answer['cpu_s']:.1f} s CPU"
        yield report.Line(f"{name} {operation}", f"{value}{cpu}, +{memory:.0f} MiB", ratio)
    if "find" in measured:
        yield report.Line(f"{name} (peer: find)", f"{measured['find']['seconds'] * 1000:.0f} ms")


def _growth(name: str, measured: dict[int, Any], clock: str) -> Iterator[report.Line]:
    """The largest against the smallest: for a namespace as it is, else per dump.

    By CPU time, ours and the kernel's, where both do all the work: it does not ask who else runs.
    """
    least, most = min(measured), max(measured)
    factor = most / least
    for operation in OPERATIONS:
        few, many = measured[least][operation], measured[most][operation]
        ratio = many[clock] / few[clock]
        what = "growth"
        if operation != "namespace":
            ratio, what = ratio / factor, "growth per dump"
        yield report.Line(
            f"{name} {operation} {what}", f"{least} to {most}", ratio, at_most=GROWTH_MAX
        )
    peaks = [
        max(measured[size][operation]["peak_kib"] for operation in OPERATIONS)
        for size in (least, most)
    ]
    line = f"{peaks[0] // 1024} to {peaks[1] // 1024} MiB"
    yield report.Line(
        f"{name} peak memory growth", line, peaks[1] / peaks[0], at_most=MEMORY_GROWTH_MAX
    )


class _Template:
    """One core and one record, linked into every dump, renewed before the links run out."""

    def __init__(self, directory: Path) -> None:
        from support import dumps

        _, entry, core = dumps.make()
        self.contents = (core.getvalue(), entry.encode())
        self._directory = directory
        self._used = LINKS_MAX
        self._serial = time.monotonic_ns()

    def link(self, directory: Path) -> None:
        if self._used >= LINKS_MAX:
            self._used, self._serial = 0, self._serial + 1
            for name, data in zip(("core.gz", "meta.json"), self.contents, strict=True):
                (self._directory / f"{name}.{self._serial}").write_bytes(data)
        self._used += 1
        try:
            os.mkdir(directory)
        except FileNotFoundError:
            os.makedirs(directory)
        for name in ("core.gz", "meta.json"):
            os.link(self._directory / f"{name}.{self._serial}", directory / name)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    answer = work()
    return answer, time.monotonic() - began


def child(url: str, operation: str, endpoint: str = "") -> dict[str, Any]:
    """One operation in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "bench.store", url, operation, endpoint]
    done = subprocess.run(command, cwd=_HERE.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _namespace(store: Any) -> None:
    assert sum(1 for _ in store.list(layout.Prefix("team-000000"))) == synthetic.PER_NAMESPACE


def _accounting(store: Any) -> None:
    from coredumpd.storetool import usage

    usage.count(store, None, 1)


def _collect(store: Any) -> None:
    """A collecting pass without the deletions: loops looked for, victims chosen."""
    from coredumpd.server.retention import crash_loops, eviction, listing
    from coredumpd.settings import sections

    groups = listing.Namespaces(store.files())
    while (group := groups.next()) is not None:
        assert not list(crash_loops.crowded(group[1], sections.CrashLoopSettings()))
        quota = sum(dump.size for dump in group[1]) * 9 // 10
        assert eviction.select(group[1], quota)


OPERATIONS: dict[str, Callable[[Any], None]] = {
    "namespace": _namespace,
    "accounting": _accounting,
    "collect": _collect,
}


def main(url: str, operation: str, endpoint: str) -> None:
    from coredumpd.settings import backends
    from coredumpd.store import engines as stores

    store = stores.open_store(url, backends.BucketSettings(endpoint=endpoint or None))
    next(iter(store.files(layout.Prefix("team-000000"))), None)  # imports and the first connection
    before = processes.peak_bytes(os.getpid()) // processes.KIB
    rounds = ROUNDS if operation == "namespace" else 1
    began_cpu_s = time.process_time()
    seconds = [timed(lambda: OPERATIONS[operation](store))[1] for _ in range(rounds)]
    cpu_s = (time.process_time() - began_cpu_s) / rounds
    peak = processes.peak_bytes(os.getpid()) // processes.KIB
    memory = {"kib": peak - before, "peak_kib": peak}
    print(json.dumps({"seconds": statistics.median(seconds), "cpu_s": cpu_s, **memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
