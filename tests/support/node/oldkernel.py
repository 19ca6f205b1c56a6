"""A kernel that lacks something, for one child process: a seccomp filter refuses the calls.

x86_64 and aarch64. The filter says ENOSYS, as a kernel that never heard of a call, or EINVAL, as
prctl(2) for an option that it does not know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable

_NUMBERS = {
    "x86_64": {"prctl": 157, "capset": 126, "landlock_create_ruleset": 444},
    "aarch64": {"prctl": 167, "capset": 91, "landlock_create_ruleset": 444},
}
_PR_SET_SECCOMP = 22
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# Layer of the handler's sandbox: (call, its first argument or None for any, what it then says).
LAYERS = {
    "no_new_privs": ("prctl", 38, errno.EINVAL),
    "Landlock": ("landlock_create_ruleset", None, errno.ENOSYS),
    "dropped capabilities": ("capset", None, errno.ENOSYS),
    "seccomp": ("prctl", _PR_SET_SECCOMP, errno.EINVAL),
}


def without(*layers: str) -> Callable[[], None]:
    """For `preexec_fn`: the child, and what it becomes, meets a kernel without `layers`."""
    numbers = _NUMBERS[os.uname().machine]
    code = b""
    for call, argument, says in map(LAYERS.__getitem__, layers):
        code += struct.pack("<HBBI", 0x20, 0, 0, 0)  # load the call's number
        code += struct.pack("<HBBI", 0x15, 0, 1 if argument is None else 3, numbers[call])
        if argument is not None:
            code += struct.pack("<HBBI", 0x20, 0, 0, 16)  # load its first argument
            code += struct.pack("<HBBI", 0x15, 0, 1, argument)
        code += struct.pack("<HBBI", 0x06, 0, 0, _ERRNO | says)
    code += struct.pack("<HBBI", 0x06, 0, 0, _ALLOW)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("<QQ", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)

    def install() -> None:
        assert held  # as long as the filter's address is used
        if libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot install a filter")

    return install
