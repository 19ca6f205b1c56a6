"""Give up rights before an attacker's bytes go through the compressor.

From then on this process can write its own spool entry and the kernel's log, and nothing else, for
ever: no capabilities, though it stays uid 0 so that its files are its own; no other files; no other
programs, processes, sockets or executable memory. docs/capture.md lists it and what it costs.

Modules must be imported and descriptors opened before. `_ctypes` is the C half of `ctypes`, without
the Python half, which costs more than the handler's start.

Tested in: tests/integration/capture/test_sandbox.py
"""

from __future__ import annotations

import _ctypes
import os

from coredumpd.formats import kernel_log
from coredumpd.handler.sandbox import landlock, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# prctl(2) and the like, include/uapi/linux/.
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITIES_MAX = 64
_CAPABILITY_VERSION_3 = 0x20080522
# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION = 1
_PATH_BENEATH = 1
# include/uapi/linux/fs.h: _IOWR('f', 16, struct pm_scan_arg); Linux 6.7.
PAGEMAP_SCAN = 0xC0606610


def enter(spool: int, own: int, pagemap: int | None = None) -> None:
    """Keep only the rights that a capture into the directory `own`, below `spool`, needs.

    All are descriptors; `pagemap` may be asked by PAGEMAP_SCAN. Never raises: a layer that this
    kernel lacks is left out, and a line in the kernel's log names it.
    """
    hide_memory()
    libc = Libc()
    layers = (
        ("no_new_privs", _no_new_privileges(libc)),
        ("Landlock", _restrict_files(libc, spool, own)),
        ("dropped capabilities", _drop_capabilities(libc)),
        ("seccomp", _restrict_calls(libc, pagemap)),
    )
    missing = [name for name, done in layers if not done]
    if missing:
        kernel_log.write(
            kernel_log.WARNING, f"capturing without {', '.join(missing)}: the kernel refuses"
        )


def hide_memory() -> None:
    """No core of this process, and of what it forks: the memory of others passes through it."""
    Libc().call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


class Libc:
    """The C library's functions, called with numbers (as int) and bytes (as pointer)."""

    def __init__(self) -> None:
        self._handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: what is loaded

    def call(self, name: str, *arguments: int | bytes | None) -> int:
        """The function's result, -1 for any error."""
        address = _ctypes.dlsym(self._handle, name)
        return int(_ctypes.call_function(address, arguments))


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


def pinned(data: bytes) -> Any:
    """A copy of `data`, an array that has an address: `_ctypes.addressof` of it."""
    kind = type("Pinned", (_ctypes.Array,), {"_type_": _Byte, "_length_": len(data)})
    return kind.from_buffer_copy(data)  # type: ignore[attr-defined]


def _no_new_privileges(libc: Libc) -> bool:
    return libc.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0


def _restrict_files(libc: Libc, spool: int, own: int) -> bool:
    abi = libc.call("syscall", _CREATE_RULESET, None, 0, _RULESET_VERSION)
    if abi < 1:
        return False
    attributes = landlock.ruleset(abi)
    ruleset = libc.call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    kept = [(landlock.SPOOL, spool), (landlock.OWN, own)]
    try:
        sink = os.open(kernel_log.KMSG, os.O_PATH | os.O_CLOEXEC)
        kept.append((landlock.LOG, sink))
    except OSError:
        sink = -1  # no log on this machine
    done = all(
        libc.call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, landlock.rule(abi, *what), 0) == 0
        for what in kept
    )
    # All the rules or no ruleset: half of them would refuse the capture itself.
    done = done and libc.call("syscall", _RESTRICT_SELF, ruleset, 0) == 0
    for descriptor in (ruleset, sink):
        if descriptor >= 0:
            os.close(descriptor)
    return done


def _drop_capabilities(libc: Libc) -> bool:
    for capability in range(_CAPABILITIES_MAX):
        if libc.call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no more of them
    libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = _CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    return libc.call("capset", header, bytes(24)) == 0


def _restrict_calls(libc: Libc, pagemap: int | None) -> bool:
    code = seccomp.program(os.uname().machine, pagemap, PAGEMAP_SCAN)
    if code is None:
        return False
    held = pinned(code)
    # struct sock_fprog: the number of instructions, of 8 bytes each, and where they are.
    program = (len(code) // 8).to_bytes(8, "little") + _ctypes.addressof(held).to_bytes(8, "little")
    return libc.call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0
