"""A second tenant during a flood: its answers, the probes', and the memory of the flooded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

from bench import processes, questions, report

ANSWER_S_MAX = 2.0
MIB = 2**20


@dataclasses.dataclass
class Answers:
    """Seconds and HTTP status of each answer: to the neighbour first, then to the probes."""

    questions: list[list[tuple[float, int]]] = dataclasses.field(default_factory=list)

    def lines(self, name: str) -> Iterator[report.Line]:
        """The figures of one flood."""
        request, *probes = self.questions
        times = sorted(seconds for seconds, _ in request)
        late_s = times[len(times) * 99 // 100]
        refused = sum(status != 200 for _, status in request)
        probed = [answer for probe in probes for answer in probe]
        failed = sum(status != 200 for _, status in probed)
        slowest_s = max(seconds for seconds, _ in probed)
        yield report.Line(f"{name}: request, median", f"{statistics.median(times) * 1000:.0f} ms")
        share = late_s / ANSWER_S_MAX
        yield report.Line(f"{name}: request, p99", f"{late_s * 1000:.0f} ms", share, at_most=1)
        counts = f"{refused} of {len(request)}"
        yield report.Line(f"{name}: requests failed", counts, float(refused), at_most=0)
        counts = f"{failed} of {len(probed)}, {slowest_s * 1000:.0f} ms"
        yield report.Line(f"{name}: probes failed, slowest", counts, float(failed), at_most=0)


@contextlib.contextmanager
def asking(asked: Sequence[questions.Question]) -> Iterator[Answers]:
    """Ask `asked` while the block runs; the answers are there at its end."""
    answers = Answers()
    text = json.dumps([dataclasses.asdict(question) for question in asked])
    command = [sys.executable, "-m", "bench.questions", text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield answers
        output, _ = process.communicate()
    answers.questions = json.loads(output)


def memory(name: str, pids: Iterable[int], limit: int) -> report.Line:
    """The most that these processes had in memory, to the manifest's limit."""
    peak = sum(processes.peak_bytes(pid) for pid in pids)
    value = f"{peak / MIB:.0f} of {limit // MIB} MiB"
    return report.Line(f"{name}: memory at its peak", value, peak / limit, at_most=1)


def stored(name: str, count: int, total: int) -> report.Line:
    """How many of a second tenant's crashes are stored; the bar is all of them."""
    missing = float(total - count)
    return report.Line(f"{name}: neighbour's crashes stored", f"{count} of {total}", missing, 0)
