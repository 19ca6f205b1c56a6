"""The node's core settings: save the originals, set ours, read back, restore.

`man 5 core`; Documentation/admin-guide/sysctl/kernel.rst (core_pattern, core_pipe_limit) and fs.rst
(suid_dumpable). Thin I/O; `guard` decides when.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

from coredumpd import durable, errors
from coredumpd.agent.node import host_namespaces
from coredumpd.formats import host_dir as host_dirs
from coredumpd.settings import sections

PROC_SYS = Path("/proc/sys")
PATTERN, PIPE_LIMIT, SUID_DUMPABLE = (
    "kernel/core_pattern",
    "kernel/core_pipe_limit",
    "fs/suid_dumpable",
)
KERNEL_DEFAULT_PATTERN = "core"
_OURS = re.compile(
    rf"\|\S*/{re.escape(host_dirs.CURRENT_LAUNCHER)} handle "
    rf"|@@\S*/{re.escape(host_dirs.CAPTURE_SOCKET)}\Z"
)


def is_ours(pattern: str) -> bool:
    """Did some agent of this project write this core_pattern?"""
    return _OURS.match(pattern) is not None


class CoreSysctls:
    """The sysctls the agent owns on this node, and the file that holds their original values."""

    def __init__(
        self,
        host_dir: Path,
        pattern: str,
        pipe_limit: int,
        suid_dumpable: int | None,
        proc_sys: Path = PROC_SYS,
    ) -> None:
        """`suid_dumpable` None: leave that sysctl alone."""
        self._host_dir = host_dir
        self._original = host_dir / host_dirs.ORIGINAL_SYSCTLS
        self._proc_sys = proc_sys
        self.pattern = pattern
        # The limit first: it must hold as soon as the pattern is ours.
        self._desired = {PIPE_LIMIT: str(pipe_limit), PATTERN: pattern}
        if suid_dumpable is not None:
            self._desired[SUID_DUMPABLE] = str(suid_dumpable)

    def use(self, pattern: str) -> None:
        """Make `pattern` the desired core_pattern; `apply` sets it."""
        self.pattern = pattern
        self._desired[PATTERN] = pattern

    def read(self, name: str) -> str:
        """One sysctl's value. Raises StorageError."""
        try:
            return (self._proc_sys / name).read_text("utf-8", "surrogateescape").removesuffix("\n")
        except OSError as error:
            raise errors.StorageError(
                f"cannot read {self._proc_sys / name}: {error.strerror}"
            ) from error

    def drift(self) -> dict[str, str]:
        """Sysctls that differ from ours, with their current values; empty when none does."""
        current = {name: self.read(name) for name in self._desired}
        return {name: value for name, value in current.items() if value != self._desired[name]}

    def save_original(self) -> None:
        """Save the current values, unless that was done before; our own are never saved."""
        if self._original.exists():
            return
        values = {name: self.read(name) for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE)}
        if is_ours(values[PATTERN]):
            # The file of an earlier installation is lost; the kernel's default is the best guess.
            values |= {PATTERN: KERNEL_DEFAULT_PATTERN, PIPE_LIMIT: "0"}
        document = {"version": 1, "values": values}
        durable.write_whole(self._original, json.dumps(document, indent=2).encode() + b"\n")

    def apply(self) -> None:
        """Correct the drift and read it back. Raises Forbidden when the kernel refuses."""
        for name in self.drift():
            self._write(name, self._desired[name])

    def restore(self) -> str:
        """Restore the original values, remove their file; returns a sentence for a person.

        A core_pattern that is no longer ours stays as it is. May be called twice.
        """
        pattern = self.read(PATTERN)
        original = self._read_original()
        lines = (f"|{self._host_dir}/{host_dirs.CURRENT_LAUNCHER} handle ", f"@@{self._host_dir}/")
        if not pattern.startswith(lines):
            self._remove_original()
            return f"core_pattern is not ours, left as it is: {pattern!r}"
        if original is None:
            original = {PATTERN: KERNEL_DEFAULT_PATTERN, PIPE_LIMIT: "0"}
        for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE):  # the pattern first: back to safety
            value = original.get(name)
            if value is not None and self.read(name) != value:
                self._write(name, value)
        self._remove_original()
        return f"core_pattern is {original[PATTERN]!r} again"

    def _read_original(self) -> dict[str, str] | None:
        try:
            values = json.loads(self._original.read_bytes())["values"]
            return {name: str(values[name]) for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE)}
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError) as error:
            raise errors.BadRecord(
                f"{self._original}: cannot be read ({error}); set core_pattern by hand, remove it"
            ) from error

    def _remove_original(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # removed already
            self._original.unlink()

    def _write(self, name: str, value: str) -> None:
        path = self._proc_sys / name
        try:
            if value.startswith("@"):  # the kernel takes it only from the host's mount namespace
                host_namespaces.call(_put, path, value)
            else:
                _put(path, value)
        except OSError as error:
            raise errors.Forbidden(
                f"cannot write {path}: {error.strerror}; the agent must be root, in a privileged"
                " container when it runs in one"
            ) from error
        current = self.read(name)
        if current != value:
            raise errors.Forbidden(f"{path}: wrote {value!r}, read back {current!r}")


def from_settings(host_dir: Path, agent: sections.AgentSettings, pattern: str) -> CoreSysctls:
    """The core settings that `agent` asks for, with core_pattern `pattern`."""
    return CoreSysctls(host_dir, pattern, agent.corePipeLimit, agent.suidDumpable)


def _put(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode("utf-8", "surrogateescape") + b"\n")
    finally:
        os.close(descriptor)
