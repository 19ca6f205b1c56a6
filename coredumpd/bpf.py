"""Programs for seccomp(2): classic BPF's instructions, and the shapes that filters share. Pure.

A program is bytes, an array of struct sock_filter. The crash path imports this module.
"""

from __future__ import annotations

# struct sock_filter's operations, include/uapi/linux/bpf_common.h.
LOAD, IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# struct seccomp_data: where what is; of an argument, the low half, on little endian.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
ARGUMENT_BYTES = 8
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # SECCOMP_RET_*
# machine: (AUDIT_ARCH_*, its column in a table of calls' numbers)
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}


def step(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the last two say how many to skip."""
    return (
        operation.to_bytes(2, "little") + bytes((if_true, if_false)) + value.to_bytes(4, "little")
    )


def prologue(architecture: int) -> list[bytes]:
    """Kill for another architecture's calls, else load the call's number."""
    return [
        step(LOAD, ARCHITECTURE),
        step(IF_EQUAL, architecture, 1, 0),
        step(RETURN, KILL),
        step(LOAD, NUMBER),
    ]


def on_call(number: int, result: int) -> list[bytes]:
    """The call `number` ends with `result`; others go on."""
    return [step(IF_EQUAL, number, 0, 1), step(RETURN, result)]


def only_with(number: int, argument: int, values: tuple[int, ...]) -> list[bytes]:
    """The call `number` is allowed where its `argument`, from 0, is one of `values`, else EPERM."""
    return [
        step(IF_EQUAL, number, 0, 2 + 2 * len(values)),
        step(LOAD, ARGUMENTS + ARGUMENT_BYTES * argument),
        *(one for value in values for one in on_call(value, ALLOW)),
        step(RETURN, EPERM),
    ]
