"""`coredumpd demo`: crash, capture, ship, download, unpack, on one machine, without Kubernetes.

Everything runs as it would on a node: the installed handler, the agent and the server are this same
executable in its other roles, in processes of their own, on temporary directories.

Tested in: tests/integration/test_demo.py
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coredumpd import commandline, errors
from coredumpd.demo import roles, sample
from coredumpd.demo import server as servers

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
CORE_PIPE_LIMIT = Path("/proc/sys/kernel/core_pipe_limit")


def main(words: list[str]) -> int:
    """Run the demo; exit code 0 only when the downloaded core is the one that was captured."""
    parser = commandline.Parser(prog="coredumpd demo", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", action="store_true", help="keep the working directory")
    arguments = parser.parse_args(words)
    work = Path(tempfile.mkdtemp(prefix="coredumpd-demo-", dir=_private_place()))
    try:
        run(work)
    finally:
        if arguments.keep:
            roles.say(f"kept {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    return 0


def _private_place() -> str:
    """A directory that no other user can write, as hostDir demands: not /tmp, if there is one."""
    return "/var/lib" if os.access("/var/lib", os.W_OK) else os.path.expanduser("~")


def run(work: Path) -> None:
    program = sample.build(work)
    if program is None:
        raise errors.Unavailable("the demo compiles its sample: install a C compiler (gcc)")
    obstacle = kernel_obstacle()
    if obstacle:
        roles.say(
            f"{obstacle}: the kernel cannot be asked for a core here, so gdb makes it and the same"
        )
        roles.say("installed handler gets it on its standard input")
    config = write_config(work, via_kernel=not obstacle)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.Server(work))
        agent = ["agent", "run", "--config", str(config), "--no-kubernetes"]
        if obstacle:
            crash_by_hand(work, program, config)
            stack.enter_context(roles.background(work, [*agent, "--no-core-pattern"]))
        else:
            stack.enter_context(restored_sysctls())
            stack.enter_context(roles.background(work, [*agent, "--restore-on-exit"]))
            roles.wait(
                "the agent to own core_pattern", lambda: str(work) in CORE_PATTERN.read_text()
            )
            roles.say(f"core_pattern is now {CORE_PATTERN.read_text().strip()}")
            crash_by_kernel(program)
        server.create()
        dump = roles.wait("the dump in the store", server.dumps)
        roles.say(f"the API lists it: {json.dumps(dump)}")
        show(server.download(work / "coredump.tar.gz"), work, program)


def kernel_obstacle() -> str:
    """The reason why this process cannot set core_pattern or make cgroups; empty if it can."""
    if os.geteuid() != 0:
        return "you are not root"
    try:
        with CORE_PATTERN.open("r+b"):
            pass
    except OSError as error:
        return f"core_pattern is not writable ({error.strerror})"
    if not any(os.access(root + "/cgroup.procs", os.W_OK) for root in sample.CGROUP_ROOTS):
        return "no cgroup hierarchy is writable"
    return ""


def write_config(work: Path, via_kernel: bool) -> Path:
    """Write the agent's configuration, and the state of a container runtime that is not there."""
    sample.write_runtime_state(work / "runtime")
    (work / "store").mkdir()
    document: dict[str, Any] = {
        "policy": {"runtimeStateDirs": [str(work / "runtime")]},
        "agent": {
            "hostDir": str(work / "host"),
            "store": f"file://{work}/store",
            "port": 0,
            "probePort": 0,
        },
    }
    if not via_kernel:
        document["policy"]["procDir"] = str(work / "proc")
    path = work / "config.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


@contextlib.contextmanager
def restored_sysctls() -> Iterator[None]:
    """Restore the sysctls after the block if the agent did not, and report that it did not."""
    before = {path: path.read_text() for path in (CORE_PATTERN, CORE_PIPE_LIMIT)}
    try:
        yield
    finally:
        for path, value in before.items():
            if path.read_text() != value:
                roles.say(f"the agent left {path} changed; putting {value.strip()!r} back")
                path.write_text(value)
        roles.say(f"core_pattern is {CORE_PATTERN.read_text().strip()} again")


def crash_by_kernel(program: Path) -> None:
    pod = sample.Cgroup()
    process = subprocess.Popen([program], stdin=subprocess.PIPE)
    try:
        pod.enter(process.pid)
        process.communicate(b"!")
    finally:
        pod.remove()
    roles.say(
        f"{program.name} (pid {process.pid}) died of {signal.Signals(-process.returncode).name}"
    )


def crash_by_hand(work: Path, program: Path, config: Path) -> None:
    """Without the kernel: gdb writes the core, and the installed handler reads it from stdin."""
    if shutil.which("gdb") is None:
        raise errors.Unavailable("without a writable core_pattern the demo needs gdb: install it")
    install = [*roles.myself(), "agent", "install", "--config", str(config), "--no-core-pattern"]
    pattern = roles.run(install, capture_output=True, text=True).stdout.strip()
    core = work / "gdb.core"
    program_input = work / "input"
    program_input.write_text("!")
    commands = [f"run < {program_input}", f"generate-core-file {core}"]
    script = [word for command in commands for word in ("-ex", command)]
    roles.run(["gdb", "-batch", "-nx", *script, program], capture_output=True)
    pid = os.getpid()
    values = {"%t": str(int(time.time())), "%s": str(int(signal.SIGFPE)), "%c": str(2**64 - 1)}
    values |= {"%P": str(pid), "%p": str(pid), "%I": str(pid), "%i": str(pid), "%d": "1", "%F": ""}
    values |= {"%u": str(os.getuid()), "%g": str(os.getgid())}
    sample.write_proc(work / "proc", pid, program)
    handler = [values.get(word, word) for word in pattern.removeprefix("|").split()]
    with core.open("rb") as stdin:
        roles.run(handler, stdin=stdin)
    core.unlink()
    roles.say(f"the handler took the core of {program.name} from its standard input")


def show(archive: Path, work: Path, program: Path) -> None:
    """Unpack the archive, compare the core with its record, and print gdb's backtrace of it."""
    files = work / "coredump-files"
    files.mkdir()
    roles.run(["tar", "-zxvf", archive, "-C", files])
    core = next(files.rglob("core"))
    record = json.loads((core.parent / "meta.json").read_bytes())
    if core.stat().st_size != record["core"]["size"]:
        raise errors.StorageError(f"{core}: not the size that the handler counted")
    summary = record["signal"]["name"], record["process"]["exe"], record["core"]["size"]
    roles.say("found: {} in {}, a core of {} bytes".format(*summary))
    gdb = shutil.which("gdb")
    if gdb:
        roles.say("gdb says:")
        roles.run([gdb, "-batch", "-nx", "-ex", "bt", program, core], stderr=subprocess.DEVNULL)
