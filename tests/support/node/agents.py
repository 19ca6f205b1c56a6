"""`coredumpd agent` as a process, from source or frozen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support import waiting
from support.node import installed

DEADLINE_S = 60.0
OWNERS = ("run", "guard")  # of core_pattern
TESTED = ("self-test by ", "crashes of this node are not captured: ")  # logged after the first
# As the shipper's container: no capability, none to be had again, and the server's group.
POWERLESS = (
    *("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"),
    *("--no-new-privs", "--regid=65532", "--clear-groups"),
)


def program(kind: str) -> list[str]:
    """The words that run this project: `source` or `frozen`."""
    if kind == "frozen":
        return [str(installed.FROZEN)]
    return [sys.executable, "-m", "coredumpd"]


def environment() -> dict[str, str]:
    """Ours, with the source tree importable and no pod's variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES")}
    return kept | {"PYTHONPATH": str(installed.ROOT)}


class Agent:
    """One node: hostDir, store and the agent that may or may not run."""

    def __init__(self, directory: Path, host_dir: Path, kind: str) -> None:
        self.directory = directory
        self.host_dir = host_dir
        self.spool = host_dir / "spool"
        self.store = directory / "store"
        self.store.mkdir(parents=True)
        self.kind = kind
        self.policy: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}  # more sections of the configuration
        self.settings: dict[str, Any] = {
            "hostDir": str(host_dir),
            "store": self.store.as_uri(),
            "port": 0,
            "probePort": 0,
        }
        self.log = directory / "agent.log"
        self.ready = "ready, metrics on port"
        self.process: subprocess.Popen[bytes] | None = None

    def config(self) -> Path:
        """The configuration file, written anew."""
        path = self.directory / "config.yaml"
        path.write_text(json.dumps({"agent": self.settings, "policy": self.policy} | self.extra))
        return path

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`coredumpd agent WORDS` to its end."""
        return subprocess.run(
            [*program(self.kind), "agent", *words],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=DEADLINE_S,
        )

    def start(self, *words: str, before: Sequence[str] = (), command: str = "run") -> None:
        """Start it, wait until it is ready and has tested its node; `before` is what runs it."""
        words = (command, "--config", str(self.config()), "--node-name", "node1", *words)
        already = len(self.logged())
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [*before, *program(self.kind), "agent", *words], stderr=sink, env=environment()
            )
        waiting.until("the agent to be ready", lambda: self._ready(already), DEADLINE_S, 0.05)
        if command in OWNERS and "--no-core-pattern" not in words:
            waiting.until("its self-test", lambda: self._tested(already), DEADLINE_S, 0.02)

    def _ready(self, already: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the agent died:\n{self.logged()}"
        return self.ready in self.logged()[already:]

    def _tested(self, already: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the agent died:\n{self.logged()}"
        return any(words in self.logged()[already:] for words in TESTED)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=DEADLINE_S)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL, to it and to the program that a onefile executable unpacks, not to handlers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in [*map(int, children.split()), self.process.pid]:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if b"\0handle\0" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=DEADLINE_S)
        self.process = None

    def logged(self) -> str:
        """Everything it has logged, of all its lives."""
        return self.log.read_text() if self.log.exists() else ""

    def get(self, path: str) -> tuple[int, str]:
        """GET from its HTTP port: (status, text)."""
        port = re.findall(r"metrics on port (\d+)", self.logged())[-1]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def resident_kib(self) -> int:
        """What it has in memory, a onefile executable's two processes together."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        resident = 0
        for one in [pid, *map(int, children.split())]:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            resident += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return resident

    def skipped(self) -> dict[str, int]:
        """Crashes it counted as skipped, by reason."""
        pattern = r'^coredumpd_agent_skipped_total\{reason="(.*)"\} (\d+)'
        counts = re.findall(pattern, self.get("/metrics")[1], re.M)
        return {reason: int(count) for reason, count in counts}

    def stored(self) -> list[str]:
        """Keys in the store: namespace/uid/container/id."""
        found: list[str] = []
        for directory, below, files in os.walk(self.store):  # rglob fails where one is renamed
            below[:] = [name for name in below if not name.startswith(".")]
            if "meta.json" in files:
                found.append(str(Path(directory).relative_to(self.store)))
        return sorted(found)

    def record(self, key: str) -> dict[str, Any]:
        """The stored meta.json."""
        document: dict[str, Any] = json.loads((self.store / key / "meta.json").read_bytes())
        return document

    def crashes(self) -> int:
        """How many crashes the store tells of, those of a loop that are only counted included."""
        loops = (self.record(key).get("crashLoop", {}) for key in self.stored())
        return sum(loop.get("count", 1) for loop in loops)

    def wait_stored(self, count: int) -> list[str]:
        """Keys, once there are `count` of them and the spool is empty."""
        waiting.until(
            f"{count} dumps in the store and none in the spool",
            lambda: len(self.stored()) == count and not os.listdir(self.spool),
            DEADLINE_S,
            0.05,
        )
        return self.stored()


@contextlib.contextmanager
def node(directory: Path, host_dir: Path, kind: str) -> Iterator[Agent]:
    """A node whose agent, if it runs, is killed at the end."""
    agent = Agent(directory, host_dir, kind)
    try:
        yield agent
    finally:
        if agent.process is not None:
            agent.kill()
