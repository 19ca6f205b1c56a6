"""What the crash path may import: every module costs each crash, and each is attack surface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Beyond what `python -I -S` itself starts with.
ALLOWED = {
    "__future__",
    "_ctypes",
    "_signal",
    "_stat",
    "_struct",
    "coredumpd",
    "coredumpd.errors",
    "coredumpd.formats",
    "coredumpd.formats.host_dir",
    "coredumpd.formats.kernel_log",
    "coredumpd.formats.layout",
    "coredumpd.formats.names",
    "coredumpd.bpf",
    "coredumpd.durable",
    "coredumpd.elfcore",
    "coredumpd.elfcore.header",
    "coredumpd.elfcore.notes",
    "coredumpd.elfcore.prologue",
    "coredumpd.elfcore.segments",
    "coredumpd.gzipio",
    "coredumpd.handler",
    "coredumpd.handler.evidence",
    "coredumpd.handler.sandbox",
    "coredumpd.handler.capture",
    "coredumpd.formats.cgroup",
    "coredumpd.handler.shares",
    "coredumpd.handler.signals",
    "coredumpd.handler.slots",
    "coredumpd.handler.own_cgroup",
    "coredumpd.formats.handler_cgroups",
    "coredumpd.handler.crash",
    "coredumpd.handler.describe",
    "coredumpd.handler.limits",
    "coredumpd.handler.sandbox.landlock",
    "coredumpd.handler.main",
    "coredumpd.formats.policy",
    "coredumpd.handler.evidence.process",
    "coredumpd.handler.evidence.claims",
    "coredumpd.handler.evidence.container",
    "coredumpd.handler.evidence.runtime",
    "coredumpd.handler.evidence.runtime_state",
    "coredumpd.handler.sandbox.enter",
    "coredumpd.handler.sandbox.seccomp",
    "coredumpd.log",
    "coredumpd.formats.core_pattern",
    "coredumpd.formats.record",
    "coredumpd.spool",
    "coredumpd.gzipio.member",
    "coredumpd.spool.copier",
    "coredumpd.spool.stream",
    "coredumpd.handler.memory",
    "coredumpd.handler.memory.access",
    "coredumpd.handler.memory.mappings",
    "coredumpd.handler.memory.order",
    "coredumpd.handler.memory.pages",
    "coredumpd.handler.memory.plan",
    "coredumpd.handler.memory.source",
    "coredumpd.formats.core_index",
    "zlib",
    "coredumpd.spool.room",
    "coredumpd.spool.capture",
    "coredumpd.spool.owner",
    "errno",
    "fcntl",
    "genericpath",
    "isal",
    "isal._isal",
    "isal._version",
    "isal.igzip_lib",
    "isal.isal_zlib",
    "os",
    "os.path",
    "posixpath",
    "select",
    "stat",
    "struct",
    "_collections_abc",
}


def modules(statement: str) -> set[str]:
    # -S keeps the virtual environment out, so isal's directory is named by hand.
    import isal

    places = [str(ROOT), str(Path(isal.__file__).parents[1])]
    script = f"import sys; sys.path[:0] = {places!r}; {statement}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


CRASH_PATH = (
    "from coredumpd.handler import main, capture; from coredumpd.handler.evidence import process"
)
# Before the first byte is read.
AT_THE_DOOR = {
    "__future__",
    "_signal",
    "fcntl",
    "coredumpd",
    "coredumpd.handler",
    "coredumpd.handler.crash",
    "coredumpd.handler.main",
    "coredumpd.formats",
    "coredumpd.formats.core_pattern",
    "coredumpd.formats.host_dir",
}


def test_the_crash_path_imports_nothing_it_does_not_need() -> None:
    extra = modules(CRASH_PATH) - modules("pass")
    assert extra <= ALLOWED, f"not allowed on the crash path: {sorted(extra - ALLOWED)}"


def test_the_first_byte_is_read_before_most_of_it_is_imported() -> None:
    started = modules("import os, errno")
    extra = modules("import coredumpd.handler.main") - started
    assert extra <= AT_THE_DOOR, f"not allowed before the first read: {sorted(extra - AT_THE_DOOR)}"


def test_the_front_door_adds_nothing_to_the_crash_path() -> None:
    handler = modules(CRASH_PATH)
    assert modules(f"from coredumpd import cli; {CRASH_PATH}") - handler == {"coredumpd.cli"}
