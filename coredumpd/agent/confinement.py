"""The shipper's own fetters: what uid 0 without a capability could still do to its node.

The guard needs the host's process ids, and a pod's containers share them. So a shipper that was
taken over could signal the kubelet, lower its limits, or write its oom_score_adj: the same uid is
enough for that. From here on it can do so to nobody but itself (seccomp(2)), and can write files
only where it works, and trace no other process (Landlock). Both hold for ever, for all threads.

Tested in: tests/integration/agent/test_confinement.py
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from coredumpd import bpf

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2  # include/uapi/linux/
_X32 = 0x40000000  # another set of numbers for x86-64's calls

# Calls that act on other processes, each with its number by machine.
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "ioprio_set": (251, 30),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "perf_event_open": (298, 241),
    "setns": (308, 268),
}
# Those whose first argument says to whom: they may name this process; the last two also by 0.
_OWN = {"kill": (62, 129), "tgkill": (234, 131)}
_OWN_OR_0 = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14  # LANDLOCK_ACCESS_FS_*
# Without REFER, which ABI 2 brought, no file could be renamed into another directory.
_REFER_ABI, _TRUNCATE_ABI, _NET_ABI, _SCOPE_ABI = 2, 3, 4, 6
_ALL_SCOPES = 0x3  # abstract sockets, signals


def enter(writable: Iterable[Path]) -> list[str]:
    """Confine this process to itself, and its writes to files below the directories `writable`.

    Call before any thread starts. Never raises; returns the layers that this kernel lacks.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return ["no_new_privs", "Landlock", "seccomp"]
    layers = {"Landlock": _restrict_files(libc, writable), "seccomp": _restrict_calls(libc)}
    return [name for name, done in layers.items() if not done]


def program(machine: str, pid: int) -> bytes | None:
    """The filter for the process `pid`, an array of struct sock_filter; None for other machines."""
    if machine not in bpf.MACHINES:
        return None
    architecture, column = bpf.MACHINES[machine]
    code = [
        *bpf.prologue(architecture),
        bpf.step(bpf.IF_AT_LEAST, _X32, 0, 1),
        bpf.step(bpf.RETURN, bpf.EPERM),
    ]
    for numbers in _REFUSED.values():
        code += bpf.on_call(numbers[column], bpf.EPERM)
    for calls, values in ((_OWN, (pid,)), (_OWN_OR_0, (0, pid))):
        for numbers in calls.values():
            code += bpf.only_with(numbers[column], 0, values)  # a pid has 32 bits: the low half
    return b"".join([*code, bpf.step(bpf.RETURN, bpf.ALLOW)])


def _restrict_calls(libc: ctypes.CDLL) -> bool:
    code = program(os.uname().machine, os.getpid()) if sys.byteorder == "little" else None
    if code is None:
        return False
    held = ctypes.create_string_buffer(code)
    # struct sock_fprog: the number of instructions, of 8 bytes each, and where they are.
    head = (len(code) // 8).to_bytes(8, "little") + ctypes.addressof(held).to_bytes(8, "little")
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0) == 0)


def _restrict_files(libc: ctypes.CDLL, writable: Iterable[Path]) -> bool:
    abi = libc.syscall(_CREATE_RULESET, None, 0, _RULESET_VERSION)
    if abi < _REFER_ABI:
        return False
    rights = _WRITE_FILE | _REFER | (_TRUNCATE if abi >= _TRUNCATE_ABI else 0)
    fields = [rights] + [0] * (abi >= _NET_ABI) + [_ALL_SCOPES] * (abi >= _SCOPE_ABI)
    attributes = b"".join(field.to_bytes(8, "little") for field in fields)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for directory in writable:
            try:
                place = os.open(directory, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # not there: what cannot be opened need not be allowed
            try:
                rule = rights.to_bytes(8, "little") + place.to_bytes(4, "little")
                if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) != 0:
                    return False
            finally:
                os.close(place)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
