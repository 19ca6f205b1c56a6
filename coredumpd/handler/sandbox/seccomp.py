"""Which system calls a capture still needs, as a seccomp filter (seccomp(2)). Pure.

What is not on the list fails with EPERM. It does not kill: an attacker gains nothing from a
refusal, while a C library that learns to try a newer call first would cost every dump. A call by
another architecture's numbers is nothing any C library does: that kills.
"""

from __future__ import annotations

from coredumpd import bpf

_PROT_EXEC = 0x4
_F_GETFD, _F_SETFD, _F_GETFL = 1, 2, 3
# clone(2)'s flags of a thread as C libraries make it: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM,
# SETTLS, PARENT_SETTID, CHILD_CLEARTID. Of no other clone, and so of no fork.
_THREAD = 0x3D0F00

# By how often they are made. poll(2) and rename(2) are older than arm64, which lacks them.
_FREE = {
    "readv": (19, 65),
    "preadv2": (327, 286),  # memory; the C library's preadv(2) asks for it first
    "preadv": (295, 69),
    "write": (1, 64),
    "poll": (7, None),
    "ppoll": (271, 73),
    "read": (0, 63),
    "clock_gettime": (228, 113),  # and the next: where the vDSO cannot answer
    "gettimeofday": (96, 169),
    "fadvise64": (221, 223),
    "brk": (12, 214),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "close": (3, 57),
    "ftruncate": (77, 46),
    "lseek": (8, 62),
    "fsync": (74, 82),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "newfstatat": (262, 79),
    "openat": (257, 56),  # Landlock says what
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# With a look at one argument: (numbers, which, values); of mappings, bits that must not be set.
_MAPPING = {"mmap": ((9, 222), 2, _PROT_EXEC), "mprotect": ((10, 226), 2, _PROT_EXEC)}
_LIMITED = {
    "fcntl": ((72, 25), 1, (_F_GETFD, _F_SETFD, _F_GETFL)),
    "clone": ((56, 220), 0, (_THREAD,)),
}
_IOCTL = (16, 29)  # only PAGEMAP_SCAN, and only of the one descriptor
# Its flags are in memory, where no filter sees them: a C library that is told that there is no such
# call takes clone.
_CLONE3 = 435


def program(machine: str, pagemap: int | None = None, scan: int = 0) -> bytes | None:
    """The filter, an array of struct sock_filter; None for a machine whose numbers are not here.

    ioctl(2) is allowed where the descriptor is `pagemap` and the request is `scan`.
    """
    if machine not in bpf.MACHINES:
        return None
    architecture, column = bpf.MACHINES[machine]
    code = bpf.prologue(architecture)
    for numbers in _FREE.values():
        number = numbers[column]
        if number is not None:
            code += bpf.on_call(number, bpf.ALLOW)
    for mapping, argument, bits in _MAPPING.values():
        code += [
            bpf.step(bpf.IF_EQUAL, mapping[column], 0, 4),
            bpf.step(bpf.LOAD, bpf.ARGUMENTS + bpf.ARGUMENT_BYTES * argument),
            bpf.step(bpf.IF_ANY_BIT, bits, 1, 0),
            bpf.step(bpf.RETURN, bpf.ALLOW),
            bpf.step(bpf.RETURN, bpf.EPERM),
        ]
    for limited, argument, values in _LIMITED.values():
        code += bpf.only_with(limited[column], argument, values)
    if pagemap is not None:
        code += [
            bpf.step(bpf.IF_EQUAL, _IOCTL[column], 0, 6),
            bpf.step(bpf.LOAD, bpf.ARGUMENTS),
            bpf.step(bpf.IF_EQUAL, pagemap, 0, 3),
            bpf.step(bpf.LOAD, bpf.ARGUMENTS + bpf.ARGUMENT_BYTES),
            bpf.step(bpf.IF_EQUAL, scan, 0, 1),
            bpf.step(bpf.RETURN, bpf.ALLOW),
            bpf.step(bpf.RETURN, bpf.EPERM),
        ]
    code += bpf.on_call(_CLONE3, bpf.ENOSYS)
    return b"".join([*code, bpf.step(bpf.RETURN, bpf.EPERM)])
