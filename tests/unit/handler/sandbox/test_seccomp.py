from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.handler.sandbox import seccomp

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
PROT_READ, PROT_EXEC = 1, 4


def verdict(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int = X86_64,
    pagemap: int | None = None,
    scan: int = 0,
) -> int:
    """What the kernel would say: the classic BPF machine, as far as the filter uses it."""
    code = seccomp.program(machine, pagemap, scan)
    assert code is not None
    filled = [*arguments, *[0] * (6 - len(arguments))]
    data = number.to_bytes(4, "little") + architecture.to_bytes(4, "little") + bytes(8)
    data += b"".join(argument.to_bytes(8, "little") for argument in filled)
    at, held = 0, 0
    while True:
        step = code[8 * at : 8 * at + 8]
        value = int.from_bytes(step[4:], "little")
        at += 1
        match int.from_bytes(step[:2], "little"):
            case 0x20:
                held = int.from_bytes(data[value : value + 4], "little")
            case 0x15:
                at += step[2] if held == value else step[3]
            case 0x45:
                at += step[2] if held & value else step[3]
            case 0x06:
                return value
            case other:
                raise AssertionError(f"operation {other:#x}")


def test_what_a_capture_does_is_allowed() -> None:
    for number in (0, 1, 3, 7, 8, 12, 19, 74, 77, 82, 221, 231, 257, 263, 264):
        assert verdict("x86_64", number) == ALLOW
    for number in (63, 64, 57, 73, 62, 214, 65, 82, 46, 223, 94, 56, 35, 38):
        assert verdict("aarch64", number, architecture=AARCH64) == ALLOW


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("execve", 59),
        ("execveat", 322),
        ("fork", 57),
        ("clone", 56),
        ("ioctl", 16),
        ("socket", 41),
        ("connect", 42),
        ("ptrace", 101),
        ("process_vm_writev", 311),
        ("open", 2),
        ("openat2", 437),
        ("io_uring_setup", 425),
        ("bpf", 321),
        ("prctl", 157),
        ("kill", 62),
        ("memfd_create", 319),
        ("shmat", 30),
        ("pkey_mprotect", 329),
        ("mount", 165),
        ("setuid", 105),
        ("chown", 92),
        ("linkat", 265),
        ("symlinkat", 266),
        ("mknodat", 259),
    ],
)
def test_what_no_capture_does_is_refused(what: str, number: int) -> None:
    assert verdict("x86_64", number) == EPERM, what


def test_memory_is_never_executable() -> None:
    for machine, architecture, calls in (
        ("x86_64", X86_64, (9, 10)),
        ("aarch64", AARCH64, (222, 226)),
    ):
        for call in calls:
            readable = verdict(machine, call, 0, 4096, PROT_READ, architecture=architecture)
            executable = verdict(
                machine, call, 0, 4096, PROT_READ | PROT_EXEC, architecture=architecture
            )
            assert (readable, executable) == (ALLOW, EPERM)


def test_of_fcntl_only_harmless_commands_are_allowed() -> None:
    assert [verdict("x86_64", 72, 0, command) for command in (1, 2, 3)] == [ALLOW] * 3
    assert verdict("x86_64", 72, 0, 8) == EPERM  # F_SETOWN: signals to others


@pytest.mark.parametrize(
    ("machine", "architecture", "clone"), [("x86_64", X86_64, 56), ("aarch64", AARCH64, 220)]
)
def test_a_thread_can_be_made_and_no_process(machine: str, architecture: int, clone: int) -> None:
    thread, process, namespaces = 0x3D0F00, 17, 0x3D0F00 | 0x10000000
    assert verdict(machine, clone, thread, architecture=architecture) == ALLOW
    assert verdict(machine, clone, process, architecture=architecture) == EPERM
    assert verdict(machine, clone, namespaces, architecture=architecture) == EPERM
    # Not EPERM: a C library takes clone instead only if there seems to be no clone3.
    assert verdict(machine, 435, architecture=architecture) == ENOSYS


def test_calls_by_the_numbers_of_another_architecture_kill() -> None:
    assert verdict("x86_64", 3, architecture=I386) == KILL


@pytest.mark.parametrize(
    ("machine", "architecture", "ioctl"), [("x86_64", X86_64, 16), ("aarch64", AARCH64, 29)]
)
def test_of_ioctl_one_request_to_one_descriptor_is_allowed(
    machine: str, architecture: int, ioctl: int
) -> None:
    def said(*arguments: int, pagemap: int | None = 7) -> int:
        return verdict(
            machine, ioctl, *arguments, architecture=architecture, pagemap=pagemap, scan=0xC0606610
        )

    assert said(7, 0xC0606610) == ALLOW
    assert said(7, 0x5401) == EPERM
    assert said(0, 0xC0606610) == EPERM
    assert said(7, 0xC0606610, pagemap=None) == EPERM


ALLOWED = {
    *(0, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 25, 28, 39, 60, 74, 77, 82, 96, 138, 186),
    *(202, 219, 221, 228, 231, 257, 262, 263, 264, 271, 273, 295, 316, 318, 327, 334),
}


@given(st.integers(0, 2**32 - 1))
def test_every_other_number_is_refused(number: int) -> None:
    assert (verdict("x86_64", number) == ALLOW) == (number in ALLOWED)


def test_of_the_numbers_that_linux_has_none_is_allowed_by_mistake() -> None:
    assert {one for one in range(1024) if verdict("x86_64", one) == ALLOW} == ALLOWED


def test_a_machine_whose_numbers_nobody_wrote_down_has_no_filter() -> None:
    assert seccomp.program("riscv64") is None
