"""kubectl as one user, and what it answered."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

_TIMEOUT_S = 300


class Kubectl:
    """kubectl as whoever `kubeconfig` names, or as whom `impersonate` names."""

    def __init__(self, program: str, kubeconfig: Path, impersonate: tuple[str, ...] = ()) -> None:
        self._program = program
        self.kubeconfig = kubeconfig
        self._argv = [program, f"--kubeconfig={kubeconfig}", *impersonate]

    def run(
        self, *words: str, input: str | bytes = "", timeout_s: float = _TIMEOUT_S
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it, whatever comes of it."""
        data = input.encode() if isinstance(input, str) else input
        argv = [*self._argv, *words]
        return subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s, check=False)

    def __call__(self, *words: str, input: str | bytes = "") -> str:
        """Run it; its output. Fails the test with what it said when it fails."""
        done = self.run(*words, input=input)
        complaint = done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {complaint}"
        return done.stdout.decode(errors="replace")

    def json(self, *words: str) -> Any:
        """The object or list that `kubectl WORDS -o json` prints."""
        return json.loads(self(*words, "-o", "json"))

    def refused(self, *words: str, input: str = "") -> str:
        """Run what must fail; what it said."""
        done = self.run(*words, input=input)
        assert done.returncode != 0, f"kubectl {' '.join(words)} was let through"
        return done.stderr.decode(errors="replace")

    def environment(self) -> dict[str, str]:
        """An environment in which a plain `kubectl` is this user."""
        path = f"{Path(self._program).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}
