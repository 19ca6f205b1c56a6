"""Other roles of this program as processes, and a polite way to wait for them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from coredumpd import errors

WAIT_TIMEOUT_S = 60.0
_T = TypeVar("_T")


def say(text: str) -> None:
    print(f"\033[1m==>\033[0m {text}" if sys.stdout.isatty() else f"==> {text}", flush=True)


def myself() -> list[str]:
    """The command that runs this program: the executable, or the interpreter with the module."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "coredumpd"]


@contextlib.contextmanager
def background(work: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Another role of this program, stopped by SIGTERM; its log is shown if it died by itself."""
    log = work / f"{words[0]}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([*myself(), *words], stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        died = process.poll()
        if died is None:
            process.terminate()
        process.wait(timeout=30)
        if died not in (None, 0):
            print(log.read_text(errors="replace"), file=sys.stderr)


def wait(what: str, poll: Callable[[], _T]) -> _T:
    """Poll until it yields something; Unavailable when that takes longer than a minute."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):  # not there yet; the deadline decides
            result = poll()
            if result:
                return result
        if time.monotonic() > deadline:
            raise errors.Unavailable(f"waited {WAIT_TIMEOUT_S:.0f} s in vain for {what}")
        time.sleep(0.05)
