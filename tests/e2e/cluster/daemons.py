"""Start processes, find them again from their pid files, stop them. Never by name."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.waiting import Failed

_STOP_S = 3.0  # nothing here is worth a longer goodbye; kube-apiserver would take ten
_TAIL_BYTES = 3000


class Daemons:
    """The processes of one cluster: logs in `<directory>/logs`, pid files in `<directory>/pids`."""

    def __init__(self, directory: Path, path: str) -> None:
        self._logs = directory / "logs"
        self._pids = directory / "pids"
        self._path = path
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for place in (self._logs, self._pids):
            place.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, argv: Sequence[str | Path]) -> None:
        """Start `argv` in a session of its own, its output to `logs/NAME.log`."""
        environment = {"PATH": self._path, "HOME": "/root"}
        with (self._logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._children[name] = child
        born = psutil.Process(child.pid).create_time()
        (self._pids / name).write_text(json.dumps([child.pid, born]))

    def check(self, name: str) -> None:
        """Raises Failed with the end of its log when daemon `name` is dead."""
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            raise Failed(f"{name} ended with {child.returncode}; its log ends:\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """The end of a daemon's log."""
        with contextlib.suppress(FileNotFoundError):
            return (self._logs / f"{name}.log").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return ""

    def stop(self, *names: str) -> None:
        """SIGTERM to all of `names`, SIGKILL after a grace period; quiet about what is gone."""
        living = [process for name in names if (process := self._find(name)) is not None]
        for process in living:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(living, timeout=_STOP_S)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=_STOP_S)
        for name in names:
            if name in self._children:
                self._children.pop(name).wait(_STOP_S)
            (self._pids / name).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """Stop everything with a pid file."""
        self.stop(*(note.name for note in self._pids.iterdir()))

    def _find(self, name: str) -> psutil.Process | None:
        """The process of the pid file, unless its pid is somebody else's by now."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            pid, born = json.loads((self._pids / name).read_text())
            process = psutil.Process(pid)
            if process.create_time() == born:
                return process
        return None
