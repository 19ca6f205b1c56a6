"""The node's core settings: save what was there, set ours, read back, put back.

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
    """Is this a core_pattern that some agent of this project wrote?"""
    return _OURS.match(pattern) is not None


class Kernel:
    """The sysctls we own on this node, and the file that remembers what they were."""

    def __init__(
        self,
        host_dir: Path,
        pattern: str,
        pipe_limit: int,
        suid_dumpable: int | None,
        proc_sys: Path = PROC_SYS,
    ) -> None:
        """`suid_dumpable` None: not ours to set."""
        self._host_dir = host_dir
        self._original = host_dir / host_dirs.ORIGINAL_SYSCTLS
        self._proc_sys = proc_sys
        self.pattern = pattern
        # The limit first: while the pattern is still another's, ours would already apply.
        self._wanted = {PIPE_LIMIT: str(pipe_limit), PATTERN: pattern}
        if suid_dumpable is not None:
            self._wanted[SUID_DUMPABLE] = str(suid_dumpable)

    def use(self, pattern: str) -> None:
        """Want another core_pattern from now on; `apply` sets it."""
        self.pattern = pattern
        self._wanted[PATTERN] = pattern

    def read(self, name: str) -> str:
        """One sysctl's value. Raises StorageError."""
        try:
            return (self._proc_sys / name).read_text("utf-8", "surrogateescape").removesuffix("\n")
        except OSError as error:
            raise errors.StorageError(
                f"cannot read {self._proc_sys / name}: {error.strerror}"
            ) from error

    def drift(self) -> dict[str, str]:
        """Sysctls that are not what we want, with the value found; empty when all is well."""
        found = {name: self.read(name) for name in self._wanted}
        return {name: value for name, value in found.items() if value != self._wanted[name]}

    def save_original(self) -> None:
        """Remember the values found, once: an existing memory is kept, ours is never saved."""
        if self._original.exists():
            return
        values = {name: self.read(name) for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE)}
        if is_ours(values[PATTERN]):
            # An installation whose memory is lost; the kernel's default is the honest guess.
            values |= {PATTERN: KERNEL_DEFAULT_PATTERN, PIPE_LIMIT: "0"}
        document = {"version": 1, "values": values}
        durable.write_whole(self._original, json.dumps(document, indent=2).encode() + b"\n")

    def apply(self) -> None:
        """Set what drifted and read it back. Raises Forbidden when the kernel refuses."""
        for name in self.drift():
            self._write(name, self._wanted[name])

    def restore(self) -> str:
        """Put the original values back and forget them; returns what was done, for a person.

        A core_pattern that is not ours any more is somebody else's and stays. May be called twice.
        """
        found = self.read(PATTERN)
        original = self._remembered()
        lines = (f"|{self._host_dir}/{host_dirs.CURRENT_LAUNCHER} handle ", f"@@{self._host_dir}/")
        if not found.startswith(lines):
            self._forget()
            return f"core_pattern is not ours, left as it is: {found!r}"
        if original is None:
            original = {PATTERN: KERNEL_DEFAULT_PATTERN, PIPE_LIMIT: "0"}
        for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE):  # the pattern first: back to safety
            wanted = original.get(name)
            if wanted is not None and self.read(name) != wanted:
                self._write(name, wanted)
        self._forget()
        return f"core_pattern is {original[PATTERN]!r} again"

    def _remembered(self) -> dict[str, str] | None:
        try:
            values = json.loads(self._original.read_bytes())["values"]
            return {name: str(values[name]) for name in (PATTERN, PIPE_LIMIT, SUID_DUMPABLE)}
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError) as error:
            raise errors.BadRecord(
                f"{self._original}: cannot be read ({error}); set core_pattern by hand, remove it"
            ) from error

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # forgotten already
            self._original.unlink()

    def _write(self, name: str, value: str) -> None:
        path = self._proc_sys / name
        try:
            if value.startswith("@"):  # from no other mount namespace
                host_namespaces.call(_put, path, value)
            else:
                _put(path, value)
        except OSError as error:
            raise errors.Forbidden(
                f"cannot write {path}: {error.strerror}; the agent must be root, in a privileged"
                " container when it runs in one"
            ) from error
        found = self.read(name)
        if found != value:
            raise errors.Forbidden(f"{path}: wrote {value!r}, read back {found!r}")


def _put(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode("utf-8", "surrogateescape") + b"\n")
    finally:
        os.close(descriptor)
