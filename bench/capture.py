"""A 2 GiB core of a process with a real heap, from the kernel to the disk, by each contender.

Each is the core_pattern helper for the same process: a parent builds the heap once, and a forked
child of it crashes for each contender, in another order in each round. Wall time, the best and the
median, is from the fork until the child is reaped and the core is durable: the kernel waits for a
helper that has the pipe open, and the peers end with a sync; ours lets the process go before that,
so it is waited for until its entry is complete, and systemd-coredump until its receiver has exited.
Ratios are the medians of ratios within one round; of gzip, which has one round, of medians; against
`cat`, whose pace has two modes, our median against its fastest round. A first core for `cat` and
`dd` does not count: it makes the machine's memory warm. `by stream` is the same handler where the
process's memory cannot be read, and `compressing alone` its loop, stored nowhere. CPU time is all
that the machine has used meanwhile, the kernel's share included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from support.node import capturing, corepattern, installed

from bench import processes, report, systemd_peer
from coredumpd.formats import core_pattern

NEEDS = ("dist/coredumpd",)
ROUNDS = 3
GIB = 1024**3
SYSTEMD = "systemd-coredump"
STREAM = "coredumpd by stream"
CAT = "cat >/dev/null"
BARS = {"dd": 1.0, SYSTEMD: 1.0, CAT: 1.0, STREAM: 0.8, "zstd -1": 1.0, "gzip -1": 0.2}
# /dev/null in place of the process's memory: it has no byte.
_NO_MEMORY = """\
#!/bin/sh
PATH=/usr/bin:/bin
[ -n "$UNSHARED" ] || UNSHARED=1 exec unshare -m "$0" "$@"
mount --bind /dev/null "/proc/$2/task/$4/mem"
exec env -i {handler} "$@"
"""

# Prints "ready", then forks a child that aborts for each line it reads; prints its signal.
_CRASHER = """
import gc, mmap, os, random, signal, sys
rng = random.Random(7)
heap = []
for number in range(1_950_000):
    heap.append({"id": number, "price": rng.random(), "name": f"customer {number * 7919 % 1000003}",
                 "tags": ["red", str(number)], "raw": rng.randbytes(16)})
text = [("lorem ipsum dolor sit amet %d " % number) * 20 for number in range(360_000)]
zero = mmap.mmap(-1, 480 << 20)
touched = bytearray(360 << 20)
gc.collect(); gc.freeze(); gc.disable()
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status), flush=True)
"""

_ALONE = f"{sys.executable} -m bench.compress_only"
_HELPERS = {
    "cat >/dev/null": "exec cat >/dev/null",
    "dd": "exec dd of={out} bs=1M conv=fsync status=none",
    "zstd -1": "zstd -q -1 -f -o {out} && exec sync {out}",
    "gzip -1": "gzip -1 > {out} && exec sync {out}",
    "compressing alone": f"exec env PYTHONPATH={installed.ROOT} {_ALONE}",
}
_WARM = ("cat >/dev/null", "dd")


@dataclasses.dataclass
class _Contender:
    """`line` is its core_pattern; `take` waits until all is on the disk and removes it: bytes."""

    line: str
    take: Callable[[], int]
    meanwhile: Callable[[], None] = lambda: None  # what it needs from us before the crash ends
    rounds: int = ROUNDS
    times_s: list[float] = dataclasses.field(default_factory=list)
    cpu_s: list[float] = dataclasses.field(default_factory=list)
    stored_bytes: int = 0


def run() -> Iterator[report.Line]:
    if not corepattern.writable():
        yield report.skipped("capture", "core_pattern is not writable here")
        return
    # On a disk, not in /tmp, which may be memory.
    with (
        tempfile.TemporaryDirectory(prefix="cd-", dir="/var/lib") as directory,
        contextlib.ExitStack() as stack,
    ):
        yield from _run(Path(directory), stack)


def _run(directory: Path, stack: contextlib.ExitStack) -> Iterator[report.Line]:
    ours = _Ours(directory)
    contenders = {
        "coredumpd": _Contender(core_pattern.render(str(ours.handler.executable)), ours.take)
    }
    contenders[STREAM] = _Contender(ours.without_memory(), ours.take)
    try:
        systemd = stack.enter_context(systemd_peer.running(directory / "systemd"))
        contenders[SYSTEMD] = _Contender(systemd.line, systemd.take, systemd.receive)
    except systemd_peer.Missing as error:
        yield report.skipped(f"capture by {SYSTEMD}", str(error))
    for name, body in _HELPERS.items():
        if shutil.which(body.removeprefix("exec ").split()[0]):
            helper = _Helper(directory, name, body)
            contenders[name] = _Contender(f"|{helper.script}", helper.take)
        else:
            yield report.skipped(f"capture by {name}", "it is not installed")
    if "gzip -1" in contenders:
        contenders["gzip -1"].rounds = 1  # half a minute each
    with contextlib.closing(_Crasher()) as crash, corepattern.borrowed():
        corepattern.SYSCTLS[1].write_text("16")
        for name in _WARM:
            _crash(crash, contenders[name])
        for number, name in _turns(contenders):
            contender = contenders[name]
            if number >= contender.rounds:
                continue
            try:
                busy_s = _busy_s()
                contender.times_s.append(_crash(crash, contender))
                contender.cpu_s.append(_busy_s() - busy_s)
            except systemd_peer.Missing as error:
                yield report.skipped(f"capture by {name}", str(error))
                crash.end()
                contender.rounds = 0
        resident = _resident_bytes(crash, contenders["coredumpd"], ours.handler)
    measured = {name: contender for name, contender in contenders.items() if contender.rounds}
    yield from _lines(ours.size, measured)
    # 40 MiB with two threads, and 8 for each more.
    most = 40 + 8 * (min(len(os.sched_getaffinity(0)), 8) - 2)
    mib = resident / 2**20
    yield report.Line("capture: resident", f"{mib:.0f} MiB", mib / most, 1.0)


def _crash(crash: _Crasher, contender: _Contender) -> float:
    """One core for `contender`: seconds until it is durable."""
    corepattern.SYSCTLS[0].write_text(contender.line)
    begun = time.perf_counter()
    crash.begin()
    contender.meanwhile()
    crash.end()
    contender.stored_bytes = contender.take()
    return time.perf_counter() - begun


def _busy_s() -> float:
    """CPU time that the machine has used since it was started: proc(5), /proc/stat."""
    user, nice, system, _, _, irq, softirq = map(
        int, Path("/proc/stat").read_text().split(None, 8)[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _turns(contenders: Collection[str]) -> Iterator[tuple[int, str]]:
    """Each round and the contender whose turn it is; each round begins one contender later."""
    names = list(contenders)
    for number in range(ROUNDS):
        first = number % len(names)
        yield from ((number, name) for name in names[first:] + names[:first])


class _Crasher:
    """A process with the heap, which forks a child that crashes, on demand."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CRASHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._waits = False
        assert self._reply() == "ready\n"

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._waits = True

    def end(self) -> None:
        """Until the child is reaped; the second time it is already."""
        if self._waits:
            assert self._reply() == f"{signal.SIGABRT}\n"
        self._waits = False

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _reply(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class _Ours:
    """The installed handler."""

    def __init__(self, directory: Path) -> None:
        self.handler = installed.Installed(directory / "h", "frozen")
        self.handler.policy(hostCrashes="store")
        self.size = 0

    def without_memory(self) -> str:
        """The core_pattern of this handler where it can read no memory."""
        script = self.handler.host_dir.parent / "by-stream"
        script.write_text(_NO_MEMORY.format(handler=self.handler.executable))
        script.chmod(0o755)
        return core_pattern.render(str(script))

    def take(self) -> int:
        entry = self.handler.wait_for_entry()  # 20 ms apart: against us, if at all
        self.size = self.handler.record(entry)["core"]["size"]
        stored = sum(child.stat().st_size for child in entry.iterdir())
        shutil.rmtree(entry)
        return stored


class _Helper:
    """A line of shell as the kernel's helper."""

    def __init__(self, directory: Path, name: str, body: str) -> None:
        self._out = directory / "out"
        self.script = directory / name.split()[0]
        body = body.format(out=self._out)
        self.script.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
        self.script.chmod(0o755)

    def take(self) -> int:
        """The kernel has waited for its end."""
        stored = self._out.stat().st_size if self._out.exists() else 0
        self._out.unlink(missing_ok=True)
        return stored


def _lines(size: int, contenders: dict[str, _Contender]) -> Iterator[report.Line]:
    yield report.Line("capture: size of the core", f"{size / GIB:.2f} GiB", size / GIB / 2, None, 1)
    ours = contenders["coredumpd"]
    for name, contender in contenders.items():
        best, middle = min(contender.times_s), statistics.median(contender.times_s)
        value = f"{best:.2f} s ({middle:.2f}) {contender.stored_bytes / 1e6:.0f} MB"
        yield report.Line(f"capture by {name}", value)
    for name, bar in BARS.items():
        if name in contenders:
            ratio = _ratio(ours, contenders[name])
            if name == CAT:
                ratio = statistics.median(ours.times_s) / min(contenders[name].times_s)
            yield report.Line(f"capture: time, against {name}", "", ratio, at_most=bar)
    cpu_s = statistics.median(ours.cpu_s)
    by_stream = cpu_s / statistics.median(contenders[STREAM].cpu_s)
    yield report.Line("capture: CPU time, against by stream", f"{cpu_s:.2f} s", by_stream, 1.0)
    least = _ratio(contenders["compressing alone"], contenders[CAT])
    yield report.Line("capture: compressing alone, against cat", "", least)
    yield report.Line(
        "capture: bytes stored, of the core's", "", ours.stored_bytes / size, at_most=0.2
    )


def _ratio(one: _Contender, other: _Contender) -> float:
    if len(one.times_s) != len(other.times_s):
        return statistics.median(one.times_s) / statistics.median(other.times_s)
    pairs = zip(one.times_s, other.times_s, strict=True)
    return statistics.median(one_s / other_s for one_s, other_s in pairs)


def _resident_bytes(crash: _Crasher, ours: _Contender, handler: installed.Installed) -> int:
    """The most memory that a handler has had, in one more crash."""
    peak = 0

    def watch() -> None:
        nonlocal peak
        pids: list[int] = []
        end = time.monotonic() + 60
        while time.monotonic() < end and not (pids and not any(map(_peak_bytes, pids))):
            pids = pids or list(capturing.handlers(handler.host_dir))
            peak = max([peak, *map(_peak_bytes, pids)])
            time.sleep(0.01)

    _crash(crash, dataclasses.replace(ours, meanwhile=watch))
    return peak


def _peak_bytes(pid: int) -> int:
    try:
        return processes.peak_bytes(pid)
    except FileNotFoundError:
        return 0  # it has ended
