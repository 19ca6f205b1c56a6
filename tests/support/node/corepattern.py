"""Borrow the machine's core_pattern and core_pipe_limit, and put them back however the test ends.

The settings are machine-wide, so a lock admits one borrower at a time. A guard process holds the
lock and the original values; it restores when its standard input closes, which happens on a clean
exit, on an exception and on SIGKILL of the borrower alike. Who kills guard and borrower together
leaves a pattern that names a program nobody has; the next borrower puts the kernel's default back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LOCK = Path("/run/coredumpd-test-core-pattern.lock")
SYSCTLS = (
    Path("/proc/sys/kernel/core_pattern"),
    Path("/proc/sys/kernel/core_pipe_limit"),
    Path("/proc/sys/fs/suid_dumpable"),
)


def writable() -> bool:
    """Can this process change core_pattern? Opening is the only honest check as root."""
    try:
        with SYSCTLS[0].open("r+b"):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """Hold the machine's core settings; wait for another borrower first."""
    guard = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    held = False
    try:
        held = guard.stdout.readline() == b"held\n"
        assert held, "the core_pattern guard did not start"
        yield
    finally:
        guard.stdin.close()
        if not held:
            guard.kill()  # it still waits for the lock, and has nothing to put back
        guard.wait(timeout=30)
        guard.stdout.close()


def main() -> None:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        originals = {path: path.read_bytes() for path in SYSCTLS}
        if names_nothing(originals[SYSCTLS[0]]):
            left = originals[SYSCTLS[0]]
            print(f"core_pattern, left by a killed run, is 'core' again: {left!r}", file=sys.stderr)
            originals |= {SYSCTLS[0]: b"core\n", SYSCTLS[1]: b"0\n"}
            restore(originals)
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()
        restore(originals)


def names_nothing(pattern: bytes) -> bool:
    """Is this a pipe to a program, or a socket, that does not exist? core(5)."""
    target = pattern.strip().removeprefix(b"|").lstrip(b"@").split(b" ")[0]
    return pattern.startswith((b"|", b"@")) and not os.path.exists(target)


def restore(originals: dict[Path, bytes]) -> None:
    for path, value in originals.items():
        if path.read_bytes() != value:
            path.write_bytes(value)


if __name__ == "__main__":
    main()
