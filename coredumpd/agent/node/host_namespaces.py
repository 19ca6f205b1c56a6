"""Calls that must be made from the host's own namespaces, PID 1's.

The kernel takes a socket core_pattern from no other mount namespace (fs/coredump.c, EINVAL), and
what is started there resolves paths as the host does. Its connector answers in no other network
namespace. A thread can move alone once it shares no file system state with the others (unshare(2)
CLONE_FS, setns(2)); it is never used for anything else again.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from coredumpd import errors

_P = ParamSpec("_P")
_T = TypeVar("_T")
HOST = "1"  # the process whose namespaces are the host's
_CLONE_FS = 0x200  # include/uapi/linux/sched.h
# CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWNET
_KINDS = {"mnt": 0x20000, "cgroup": 0x2000000, "net": 0x40000000}


def call(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """`function(…)` as the host sees its files; its result or exception. Blocks.

    Raises Forbidden when the agent may not enter.
    """
    return _call(("mnt", "cgroup"), functools.partial(function, *args, **kwargs))


def call_in_network(function: Callable[[], _T]) -> _T:
    """As `call`, with the host's network instead: a socket made there stays there."""
    return _call(("net",), function)


def leave_network() -> None:
    """Move this process into a new, empty network namespace. Call before any thread starts.

    Raises Forbidden. From then on only `call_in_network` reaches a network.
    """
    try:
        _check(_libc().unshare(_KINDS["net"]))
    except OSError as error:
        raise errors.Forbidden(
            f"cannot leave the network: {error.strerror}; the guard must be root, in a privileged"
            " container when it runs in one"
        ) from error


def _call(kinds: tuple[str, ...], function: Callable[[], _T]) -> _T:
    results: list[_T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            _enter(kinds)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 (carried over to the caller)
            problems.append(error)

    thread = threading.Thread(target=run, name="host namespace")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def _enter(kinds: tuple[str, ...]) -> None:
    try:
        foreign = [name for name in kinds if _inode(name, HOST) != _inode(name, "self")]
    except PermissionError:
        # PID 1 has rights that we lack, so we cannot compare. On the host we are where we should
        # be; anywhere else the kernel refuses the core_pattern that we are about to write.
        return
    try:
        if foreign:
            _check(_libc().unshare(_CLONE_FS))
        for name in foreign:
            descriptor = os.open(f"/proc/{HOST}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check(_libc().setns(descriptor, _KINDS[name]))
            finally:
                os.close(descriptor)
    except OSError as error:
        raise errors.Forbidden(
            f"cannot enter the host's namespaces: {error.strerror}; the agent must be root, in a"
            " privileged container when it runs in one"
        ) from error


def _inode(name: str, pid: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{name}").st_ino


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
