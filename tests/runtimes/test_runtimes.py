"""Which crashes leave a core, by runtime: each line of the table in docs/runtimes.md is run.

Programs are compiled by Debian's compilers; `make runtimes` installs them.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.node import capturing, installed, pods

from coredumpd.agent.terminations import causes, statuses
from coredumpd.agent.terminations import programs as programs_

pytestmark = capturing.needs_core_pattern
PROGRAMS = Path(__file__).with_name("programs")
TABLE = installed.ROOT / "docs" / "runtimes.md"
LOG_CHARS = 2048  # the end of a log that is a termination message: the kubelet's limit
# Makes the shell's own process, PID 1 by then, one of the pod.
_PID_1 = 'for file in $1; do echo $$ >"$file/cgroup.procs"; done; shift; exec "$@"'
_NULL_POINTER = "import ctypes; ctypes.string_at(0)"
_NODE_THROW = "throw new Error('no')"
_JVM = ["java", "-XX:ErrorFile=/dev/null"]
COMMANDS: dict[str, list[str]] = {
    "C: null pointer": ["./crash", "segv"],
    "C: abort()": ["./crash"],
    "C++: uncaught exception": ["./throw"],
    "Rust: panic": ["./panic"],
    "Rust: panic, panic=abort": ["./panic-abort"],
    "Go: nil pointer": ["./nil"],
    "Go: nil pointer, GOTRACEBACK=crash": ["env", "GOTRACEBACK=crash", "./nil"],
    "Python: uncaught exception": ["python3", "-c", "1 / 0"],
    "Python: null pointer in C": ["python3", "-c", _NULL_POINTER],
    "Python: null pointer in C, faulthandler": [
        "python3",
        "-X",
        "faulthandler",
        "-c",
        _NULL_POINTER,
    ],
    "Python: os.abort()": ["python3", "-c", "import os; os.abort()"],
    "Node.js: uncaught exception": ["node", "-e", _NODE_THROW],
    "Node.js: uncaught exception, --abort-on-uncaught-exception": [
        *("node", "--abort-on-uncaught-exception", "-e", _NODE_THROW)
    ],
    "Node.js: process.abort()": ["node", "-e", "process.abort()"],
    "Java: null pointer in native code": [*_JVM, "Crash"],
    "Java: null pointer in native code, -XX:-CreateCoredumpOnCrash": [
        *(*_JVM, "-XX:-CreateCoredumpOnCrash", "Crash")
    ],
    "any: kill -SEGV to itself": ["sh", "-c", "kill -SEGV $$; exit 3"],
}
COMPILERS: dict[str, list[str]] = {
    "crash": ["gcc", "-o", "crash", "crash.c"],
    "throw": ["g++", "-o", "throw", "throw.cc"],
    "panic": ["rustc", "-o", "panic", "panic.rs"],
    "panic-abort": ["rustc", "-C", "panic=abort", "-o", "panic-abort", "panic.rs"],
    "nil": ["go", "build", "-o", "nil", "nil.go"],
    "Crash": ["javac", "-nowarn", "Crash.java"],
}


def rows() -> dict[str, tuple[str, str, str]]:
    """The table: by crash, the outcomes of an ordinary process and of PID 1, and the reason of the
    Event about a missing core.
    """
    row = r"^\| (\S+: .+?) \| (.+?) \| (.+?) \| .*?\|(.*)\|$"
    lines = re.findall(row, TABLE.read_text(), re.M)
    return {crash: (*outcomes, reason.strip(" `")) for crash, *outcomes, reason in lines}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sources, where programs are compiled as they are needed."""
    directory = tmp_path_factory.mktemp("programs")
    shutil.copytree(PROGRAMS, directory, dirs_exist_ok=True)
    return directory


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[installed.Installed]:
    host_dir = Path(tempfile.mkdtemp(prefix="cd-"))
    program = installed.Installed(host_dir, "frozen" if installed.FROZEN.exists() else "source")
    program.policy(runtimeStateDirs=[str(tmp_path / "runtime")])
    yield program
    shutil.rmtree(host_dir)


def compiled(command: list[str], directory: Path) -> list[str]:
    """`command` once its program is compiled; skips the test when there is no compiler for it."""
    for word in command:
        build = COMPILERS.get(word.removeprefix("./"))
        if build is not None:
            require(build[0])
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory)}
            subprocess.run(build, cwd=directory, env=environment, check=True, capture_output=True)
    if not command[0].startswith("./"):
        require(command[0])
    return command


def require(program: str) -> None:
    if shutil.which(program, path="/usr/bin:/bin") is None:
        pytest.skip(f"NOT TESTED: {program} is not installed; make runtimes installs it")


def outcome(returncode: int, entries: list[dict[str, Any]]) -> str:
    """As the table's cells write it."""
    if returncode >= 0:
        assert not entries
        return f"code {returncode}"
    (record,) = entries
    assert record["signal"]["number"] == -returncode
    return f"core, {signal.Signals(-returncode).name}"


def event_reason(crash: str, first: bool, code: int, output: str) -> str:
    """The reason that the agent names, of a container whose last words are the end of `output`."""
    variable = {"name": "GOTRACEBACK", "value": "crash"}
    container = {"env": [variable] if "GOTRACEBACK=crash" in crash else []}
    spec = {"shareProcessNamespace": not first}
    program = programs_.of_container(spec, container, output[-LOG_CHARS:])
    names = ("default", "web", "1234-5678", "app", None, "c" * 64)
    end = statuses.Termination(*names, code, "Error", 0.0, program)
    finding = causes.decide(causes.Facts(end))
    return "" if finding is None else finding.reason


@pytest.mark.parametrize("first", [False, True], ids=["ordinary", "pid-1"])
@pytest.mark.parametrize("crash", COMMANDS)
def test_a_crash_ends_as_the_table_says(
    crash: str, first: bool, handler: installed.Installed, programs: Path, tmp_path: Path
) -> None:
    command = compiled(COMMANDS[crash], programs)
    outputs: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with pods.running(tmp_path / "runtime") as pod, capturing.owning(handler):
        if first:
            # unshare(1) dies of the same signal as its child, in no pod, which is ignored.
            hierarchies = " ".join(str(path) for path in pod.hierarchies)
            words = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", _PID_1]
            process = subprocess.Popen(
                [*words, "sh", hierarchies, *command], cwd=programs, **outputs
            )
        else:
            process = pod.start(command, cwd=programs, **outputs)
        output = process.communicate(timeout=60)[0].decode("utf-8", "replace")
        returncode = process.returncode
        entry = handler.wait_for_entry() if returncode < 0 else None
    entries = [handler.record(entry) for entry in handler.entries()] if entry else []
    assert outcome(returncode, entries) == rows()[crash][first]
    if returncode >= 0:
        assert event_reason(crash, first, returncode, output) == rows()[crash][2]


def test_the_table_has_a_line_for_each_command_and_no_other() -> None:
    assert list(rows()) == list(COMMANDS)
