"""What a handler can still do while an attacker's bytes go through it."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cores, waiting
from support.node import capturing, installed, kernellog, oldkernel, pods

from coredumpd import errors

DEADLINE_S = 30.0
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def rights(pid: int) -> dict[str, int]:
    """Its capability sets, NoNewPrivs and Seccomp, each as a number."""
    said = status(pid)
    return {name: int(said[name], 16) for name in (*_SETS, "NoNewPrivs", "Seccomp")}


NONE = {**dict.fromkeys(_SETS, 0), "NoNewPrivs": 1, "Seccomp": 2}


def sandboxed(handler: installed.Installed) -> int:
    """The pid of this installation's handler that has entered its sandbox, once there is one."""
    name = str(handler.host_dir).encode()

    def found() -> int | None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # gone meanwhile
                pid = int(path.parent.name)
                if name in path.read_bytes() and status(pid)["Seccomp"] == "2":
                    return pid
        return None

    return waiting.until("a handler in its sandbox", found, DEADLINE_S, 0.005) or 0


@contextlib.contextmanager
def streaming(handler: installed.Installed, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A handler in its sandbox, which has got the first bytes of a core and waits for more."""
    process = subprocess.Popen(
        [handler.executable, "handle", *words],
        stdin=subprocess.PIPE,
        bufsize=0,
        env={},
        close_fds=False,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(bytes(100_000))
        assert sandboxed(handler) == process.pid
        yield process
    finally:
        process.stdin.close()
        code = process.wait(DEADLINE_S)
    assert code == 0


# What a debugger makes the handler call, as an attacker would who has taken it over.
REFUSED = {
    "a file of the host": 'open("/etc/passwd", 0)',
    "a file of hostDir": 'open("{host}/policy.json", 0)',
    "a new file of hostDir": 'open("{host}/new", 0x41, 0600)',
    "another capture": 'open("{other}/core.gz", 0)',
    "a new file in the spool": 'open("{host}/spool/new", 0x41, 0600)',
    "another's name": 'unlink("{other}/core.gz")',
    "its memory, as a file": 'open("/proc/self/mem", 2)',
    "reading the log": 'open("/dev/kmsg", 0)',
    "a link": 'symlink("/etc", "{own}/link")',
    "a socket": "socket(1, 1, 0)",
    "a socket pair": "socketpair(1, 1, 0, $page)",
    "a child": "fork()",
    "a program": 'execve("/bin/true", 0, 0)',
    "a memory file": 'memfd_create("x", 0)',
    "a debugged process": "ptrace(16, {me}, 0, 0)",
    "a signal": "kill({me}, 0)",
    "another's memory": "process_vm_readv({me}, 0, 0, 0, 0, 0)",
    "a mount": 'mount("none", "/mnt", "tmpfs", 0, 0)',
    "a namespace": "unshare(0x10000000)",
    "another user": "setuid(12345)",
    "an owner": 'chown("{own}/core.gz", 1, 1)',
    "whose entry it is": 'setxattr("{own}", "security.coredumpd", $page, 1, 0)',
    "whose entry it is, by its descriptor": 'fsetxattr(4, "security.coredumpd", $page, 1, 0)',
    "an entry that nobody marked": 'removexattr("{own}", "security.coredumpd")',
    "an entry of its own making": 'mkdir("{host}/spool/made", 0700)',
    "executable memory": "mmap(0, 4096, 7, 0x22, -1, 0)",
    "memory made executable": "mprotect($page, 4096, 5)",
    "typing into a terminal": "ioctl(0, 0x5412, $page)",
}
GRANTED = {
    "its core": 'open("{own}/core.gz", 1)',
    "a file of its own": 'open("{own}/meta.json.new", 0xc1, 0600)',
    "writing the log": 'open("/dev/kmsg", 1)',
    "memory": "mprotect($page, 4096, 1)",
}


@capturing.needs_core_pattern
@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_while_a_capture_streams_its_handler_has_no_rights_left(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, mode: str
) -> None:
    with capturing.owning(handler, mode):
        process = pod.start([crasher, "segv", "0", "600000000"], cwd="/")
        pid = sandboxed(handler)
        os.kill(pid, signal.SIGSTOP)  # or it might be done before we have looked
        assert rights(pid) == NONE
        assert status(pid)["Uid"].split() == ["0"] * 4
        os.kill(pid, signal.SIGCONT)
        assert process.wait(60) == -signal.SIGSEGV
    record = handler.record(handler.wait_for_entry())
    assert not record["core"]["truncated"]["is"]
    assert record["capture"]["source"] == "memory"


def test_the_second_thread_of_a_large_capture_has_no_rights_either(
    handler: installed.Installed, words: list[str]
) -> None:
    with streaming(handler, words) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(130 << 20))
        tasks = Path(f"/proc/{process.pid}/task")
        waiting.until("a second thread", lambda: len(os.listdir(tasks)) == 2, DEADLINE_S)
        assert [rights(int(task)) for task in os.listdir(tasks)] == [NONE, NONE]
    assert handler.record(handler.wait_for_entry())["core"]["size"] == 100_000 + (130 << 20)


def test_a_failure_inside_the_sandbox_reaches_the_kernels_log(
    handler: installed.Installed, words: list[str]
) -> None:
    with kernellog.following() as lines:
        process = subprocess.Popen(
            [handler.executable, "handle", *words],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            close_fds=False,
        )
        assert process.stdin is not None
        process.stdin.write(bytes(100_000))
        process.stdin.flush()
        assert sandboxed(handler) == process.pid
        (part,) = handler.spool.iterdir()
        shutil.rmtree(part)
        _, said = process.communicate(timeout=DEADLINE_S)
        logged = [line for line in lines() if f"[{process.pid}]: crash not stored: " in line]
    assert b"Traceback" not in said
    assert process.returncode == errors.StorageError.exit_code
    assert len(logged) == 1


def test_a_handler_that_is_taken_over_reaches_nothing_but_its_own_entry(
    handler: installed.Installed, words: list[str]
) -> None:
    other = handler.spool / "another"
    handler.spool.mkdir(mode=0o700)
    other.mkdir()
    (other / "core.gz").write_bytes(b"of another tenant")
    with streaming(handler, words) as process:
        (own,) = handler.spool.glob("*.part")
        places = {"host": handler.host_dir, "own": own, "other": other, "me": os.getpid()}
        calls = {what: call.format(**places) for what, call in {**REFUSED, **GRANTED}.items()}
        results = taken_over(process.pid, calls)
    assert {what: results[what] for what in REFUSED} == dict.fromkeys(REFUSED, -1)
    assert {what for what in GRANTED if results[what] < 0} == set()
    assert (other / "core.gz").read_bytes() == b"of another tenant"


# The same, while it reads a process's memory.
REFUSED_OF_MEMORY = {
    "the process's memory, to write": 'open("/proc/{victim}/mem", 2)',
    "the same by its descriptor's name": 'open("/proc/self/fd/{mem}", 2)',
    "a byte of the process": "pwrite({mem}, $page, 1, {address})",
    "another request to its pagemap": "ioctl({pagemap}, 0x5401, $page)",
    "a scan of another file": "ioctl({mem}, 0xc0606610, $page)",
    "another process's pagemap": 'open("/proc/{me}/pagemap", 0)',
    "memory by another call": "process_vm_readv({victim}, 0, 0, 0, 0, 0)",
}


@capturing.needs_core_pattern
@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_a_handler_that_is_taken_over_while_it_reads_memory_cannot_write_it(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, mode: str
) -> None:
    with capturing.owning(handler, mode):
        process = pod.start([crasher, "segv", "0", "1500000000"], cwd="/")
        pid = sandboxed(handler)
        capturing.part(handler)
        os.kill(pid, signal.SIGSTOP)  # or it might be done before we have looked
        opened = {
            os.readlink(link).rpartition("/")[2]: int(link.name)
            for link in Path(f"/proc/{pid}/fd").iterdir()
        }
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        places = {
            "victim": process.pid,
            "me": os.getpid(),
            "mem": opened["mem"],
            "pagemap": opened["pagemap"],
            "address": int(maps.partition("-")[0], 16),
        }
        all_calls = {**REFUSED, **REFUSED_OF_MEMORY}
        (own,) = handler.spool.glob("*.part")
        places |= {"host": handler.host_dir, "own": own, "other": handler.spool / "another"}
        calls = {what: call.format(**places) for what, call in all_calls.items()}
        results = taken_over(pid, calls)
        os.kill(pid, signal.SIGCONT)
        assert process.wait(60) == -signal.SIGSEGV
    refused = {*REFUSED, *REFUSED_OF_MEMORY}
    assert {what: results[what] for what in refused} == dict.fromkeys(refused, -1)


def taken_over(pid: int, calls: dict[str, str]) -> dict[str, int]:
    """What calls into the C library return when `pid` itself makes them, at a debugger's word."""
    lines = ["set confirm off", f"set $page = {typed('mmap(0, 4096, 3, 0x22, -1, 0)')}"]
    lines += [f'printf "%s=%ld\\n", "{what}", {typed(call)}' for what, call in calls.items()]
    words = [word for line in lines for word in ("-ex", line)]
    done = subprocess.run(
        ["gdb", "-q", "-batch", "-nx", "-p", str(pid), *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = {what: int(value) for what, value in re.findall(r"^(.+)=(-?\d+)$", done.stdout, re.M)}
    assert found.keys() == calls.keys(), done.stdout + done.stderr
    return found


def typed(call: str) -> str:
    """gdb knows no types without debugging symbols: int, but for what maps memory."""
    name, _, arguments = call.partition("(")
    result = "long" if name == "mmap" else "int"
    return f"(long)(({result}(*)()){name})({arguments}"


# Nothing is so old that it lacks no_new_privs alone: seccomp needs it.
@pytest.mark.parametrize(
    "missing",
    [["Landlock"], ["dropped capabilities"], ["seccomp"], [*oldkernel.LAYERS]],
    ids=lambda missing: "+".join(missing),
)
def test_a_kernel_that_lacks_a_layer_still_captures_and_says_so(
    handler: installed.Installed, words: list[str], missing: list[str]
) -> None:
    core = cores.elf(3_000_000)
    with kernellog.following() as records:
        process = subprocess.Popen(
            [handler.executable, "handle", *words],
            stdin=subprocess.PIPE,
            env={},
            close_fds=False,
            preexec_fn=oldkernel.without(*missing),
        )
        process.communicate(core, DEADLINE_S)
        assert process.returncode == 0
        entry = handler.wait_for_entry()
        assert gzip.decompress((entry / "core.gz").read_bytes()) == core
        ours = f"coredumpd[{process.pid}]: capturing without"
        said = [line for line in records() if ours in line]
    assert len(said) == 1
    assert f"without {', '.join(missing)}: " in said[0]


def test_a_disk_that_fills_up_meanwhile_is_met_inside_the_sandbox_and_the_record_is_kept(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolKeepFree=0)
    handler.spool.mkdir(mode=0o700)
    options = "size=16m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", handler.spool], check=True)
    try:
        with streaming(handler, words) as process:
            assert process.stdin is not None
            filler = handler.spool / "filler"
            filler.write_bytes(bytes(os.statvfs(handler.spool).f_bavail * 4096 - 64 * 1024))
            with contextlib.suppress(BrokenPipeError):  # at once, or when it closes its end
                process.stdin.write(cores.elf(2_000_000))
        filler.unlink()
        entry = handler.wait_for_entry()
        core = handler.record(entry)["core"]
        assert core["truncated"]["reason"] == "the spool failed: No space left on device"
        assert core["size"] == 0
    finally:
        subprocess.run(["umount", "--lazy", handler.spool], check=True)
