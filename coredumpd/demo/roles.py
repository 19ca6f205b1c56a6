"""Other roles of this program, and other programs, as processes; and waiting for them.

Tested in: tests/integration/test_demo.py
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

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


def run(words: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run another program. Raises Unavailable, with its error output, when it fails.

    The frozen executable's own library path must not reach it: gdb would load our libpython
    (PyInstaller's manual, "Launching external programs from the frozen application").
    """
    environment = {name: value for name, value in os.environ.items() if "_PYI" not in name}
    original = environment.pop("LD_LIBRARY_PATH_ORIG", None)
    if getattr(sys, "frozen", False):
        environment.pop("LD_LIBRARY_PATH", None)
    if original is not None:
        environment["LD_LIBRARY_PATH"] = original
    done = subprocess.run(words, env=environment, **options)
    if done.returncode != 0:
        output = f": {done.stderr}" if done.stderr else ""
        raise errors.Unavailable(f"{words[0]} failed with {done.returncode}{output}")
    return done


@contextlib.contextmanager
def background(work: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run another role until the block ends. If it failed before that, its log is printed."""
    log = work / f"{words[0]}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([*myself(), *words], stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        exit_code = process.poll()
        if exit_code is None:
            process.terminate()
        process.wait(timeout=30)
        if exit_code not in (None, 0):
            print(log.read_text(errors="replace"), file=sys.stderr)


def wait(subject: str, poll: Callable[[], _T]) -> _T:
    """Call `poll` until its result is true. Raises Unavailable after WAIT_TIMEOUT_S."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):  # not there yet; the deadline decides
            result = poll()
            if result:
                return result
        if time.monotonic() > deadline:
            raise errors.Unavailable(f"waited {WAIT_TIMEOUT_S:.0f} s in vain for {subject}")
        time.sleep(0.05)
