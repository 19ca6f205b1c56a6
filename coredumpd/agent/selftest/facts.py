"""Gather, after a self-test has failed, what can tell why. Blocks; each question has a bound."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
from pathlib import Path

from coredumpd import errors, log
from coredumpd.agent.node import host_namespaces, install, interpreter, mounts
from coredumpd.agent.selftest import diagnosis, helper_rules, probe
from coredumpd.formats import host_dir as host_dirs
from coredumpd.spool import capture

START_S = 5.0  # the launcher's own help takes some 30 ms
TEXT_CHARS_MAX = 300
# The beginning of a kernel's line, which differs each time; a command's name has up to 15 bytes.
_PROCESS = re.compile(r"\A(?:coredump: |Pid )\d+\(.{0,15}\):? ")


def gather(facts: diagnosis.Facts) -> diagnosis.Facts:
    """`facts` with what the node says."""
    path = _real(facts.host_dir)
    own, hosts = _place("self", facts.host_dir), _place(host_namespaces.HOST, path)
    launcher = f"{facts.host_dir}/{host_dirs.CURRENT_LAUNCHER}"
    return dataclasses.replace(
        facts,
        hidden=own is not None and (hosts is None or not own.is_same(hosts)),
        noexec=hosts is not None and hosts.noexec,
        start=start_problem(launcher),
        static_helper=helper_rules.static_helper(),
        selinux_label=helper_rules.label(launcher) if helper_rules.selinux_enforces() else None,
        nested=not install.in_first_pid_namespace(),
    )


def of_result(base: diagnosis.Facts, result: probe.Result) -> diagnosis.Facts:
    """`base` with what the crash has shown. Pure."""
    cut = result.record.raw["core"]["truncated"] if result.record is not None else {}
    reason = cut.get("reason")
    full = reason in (capture.SPOOL_FULL, capture.DISK_FULL)
    problem = reason if full else result.lines.problem or ""
    return dataclasses.replace(
        base,
        passed=result.record is not None,
        full=full,
        consumed=result.consumed,
        problem=log.escape(problem)[:TEXT_CHARS_MAX],
        kernel=log.escape(_PROCESS.sub("", result.lines.kernel or ""))[:TEXT_CHARS_MAX],
    )


def start_problem(launcher: str) -> str:
    """Why the host does not run `launcher`; "" when it does."""
    try:
        done = host_namespaces.call(_help, launcher)
    except errors.Forbidden:
        return ""  # not to be known
    except subprocess.TimeoutExpired:
        return f"it did not end within {START_S:g} s"
    except OSError as error:
        missing = _missing_interpreter(launcher)
        return f"{error.strerror}{missing}"
    if done.returncode == 0:
        return ""
    text = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = log.escape(text[-1])[:TEXT_CHARS_MAX] if text else "it said nothing"
    if done.returncode < 0:
        return f"{signal.Signals(-done.returncode).name} ended it; {said}"
    return f"it ended with exit code {done.returncode}: {said}"


def _help(launcher: str) -> subprocess.CompletedProcess[bytes]:
    """As the kernel starts it, but for the words: without an environment, in /."""
    return subprocess.run(
        [launcher, "handle", "--help"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={},
        cwd="/",
        timeout=START_S,
    )


def _missing_interpreter(launcher: str) -> str:
    """execve(2) says ENOENT also when the loader is missing, or a script's interpreter."""
    try:
        with open(launcher, "rb") as file:
            first = file.read(512)
        if first.startswith(b"#!"):
            name = os.fsdecode(first[2:].split(b"\n", 1)[0].split()[0])
        else:
            name = interpreter.interpreter_of(Path(launcher))
    except (OSError, IndexError, errors.BadRecord):
        return ""
    return f": its loader {name} is missing" if not os.path.exists(name) else ""


def _real(host_dir: str) -> str:
    try:
        return host_namespaces.call(os.path.realpath, host_dir)
    except errors.Forbidden:
        return host_dir


def _place(pid: str, directory: str) -> mounts.Place | None:
    try:
        return mounts.locate(Path(f"/proc/{pid}/mountinfo").read_text(), directory)
    except OSError:
        return None
