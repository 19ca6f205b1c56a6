"""What a shipper that was taken over cannot do to the node's other processes of uid 0."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import agents

from coredumpd.agent import confinement

# As the shipper's container: uid 0 and no capability, and so is the victim.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0")

ENTER = """
import ctypes, os, resource, signal, sys, threading
from pathlib import Path
from coredumpd.agent import confinement
victim, work = int(sys.argv[1]), Path(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
if "free" not in sys.argv:
    missing = confinement.enter([work])
    assert "seccomp" not in missing, missing
def attempt(step):
    try:
        result = step()
    except OSError as error:
        return "refused" if error.errno in (1, 13) else error.strerror
    return "done" if result in (None, 0) else "refused"
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
"""

ATTACKS = {
    "a signal": "os.kill(victim, 0)",
    "a signal to everybody": "os.kill(-1, 0)",
    "a signal to a thread": "libc.tgkill(victim, victim, 0)",
    "a queued signal": "libc.syscall(129, victim, 0, bytes(128))",
    "a signal by a descriptor": "signal.pidfd_send_signal(os.pidfd_open(victim), 0)",
    "its limits": "resource.prlimit(victim, resource.RLIMIT_NOFILE, (3, 3)) and None",
    "its processors": "os.sched_setaffinity(victim, {0})",
    "its scheduling": "os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0))",
    "its priority": "os.setpriority(os.PRIO_PROCESS, victim, 19)",
    "everybody's priority": "os.setpriority(os.PRIO_USER, 0, 0)",
    "tracing it": "libc.ptrace(16, victim, 0, 0)",
    "another's namespace": "libc.setns(os.open(f'/proc/{victim}/ns/net', os.O_RDONLY), 0)",
}
FILES = {
    "who dies first when memory is short": "write(f'/proc/{victim}/oom_score_adj', '1000')",
    "its environment": "open(f'/proc/{victim}/environ').read() and None",
    "its memory": "open(f'/proc/{victim}/mem', 'rb').close()",
    "a file somewhere else": "write(work.parent / 'elsewhere', 'x')",
    "a setting of the kernel": "write('/proc/sys/kernel/core_pattern', 'x')",
}
OWN = {
    "a signal to itself": "os.kill(os.getpid(), 0)",
    "its own limits": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "a file where it works": "write(work / 'a', 'x')",
    "a rename into another directory": (
        "os.makedirs(work / 'd', exist_ok=True) or write(work / 'b', 'x')"
        " or os.rename(work / 'b', work / 'd/b')"
    ),
    "a thread": "threading.Thread(target=write, args=(work / 'c', 'x')).start()",
}


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[int]:
    with subprocess.Popen([*POWERLESS, "sleep", "600"]) as process:
        yield process.pid
        process.kill()


def attempt(step: str, victim: int, tmp_path: Path, *words: str) -> str:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    script = textwrap.dedent(ENTER) + f"print(attempt(lambda: {step}))"
    done = subprocess.run(
        [*POWERLESS, sys.executable, "-c", script, str(victim), str(work), *words],
        capture_output=True,
        text=True,
        env=agents.environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def knows_landlock(tmp_path: Path) -> bool:
    script = "from coredumpd.agent import confinement; print(confinement.enter([]))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=agents.environment()
    )
    return "Landlock" not in done.stdout


@pytest.mark.parametrize("what", ATTACKS)
def test_no_call_reaches_another_process_of_the_same_uid(what, victim, tmp_path):
    assert attempt(ATTACKS[what], victim, tmp_path) == "refused"


@pytest.mark.parametrize("what", FILES)
def test_no_file_outside_its_own_directories_is_written_and_no_memory_is_read(
    what, victim, tmp_path
):
    if not knows_landlock(tmp_path):
        pytest.skip("this kernel has no Landlock")
    assert attempt(FILES[what], victim, tmp_path) == "refused"


@pytest.mark.parametrize("what", OWN)
def test_its_own_work_goes_on(what, victim, tmp_path):
    assert attempt(OWN[what], victim, tmp_path) == "done"


@pytest.mark.parametrize("what", ["a signal", "its limits", "its processors", "its environment"])
def test_without_it_uid_0_is_enough(what, victim, tmp_path):
    assert attempt((ATTACKS | FILES)[what], victim, tmp_path, "free") == "done"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_whole_instructions_that_the_kernel_takes(machine):
    code = confinement.program(machine, 4711)
    assert code is not None
    assert len(code) % 8 == 0
    assert len(code) // 8 < 4096


def test_a_machine_whose_numbers_are_unknown_has_no_filter():
    assert confinement.program("riscv64", 1) is None
