"""Identify the peer of a capture socket: the facts that the pipe handler gets as arguments.

`SO_PEERPIDFD` of a connection that the kernel made for a crash is a pidfd of the crashing process,
and `PIDFD_GET_INFO` on it (include/uapi/linux/pidfd.h) says whether it is dumping core, so nobody
else who can connect is believed. What the kernel does not say there is read from /proc/PID;
`process.examine` then checks, last of all, that the pidfd's process still lives: until that moment
the pid in its paths cannot have been another's.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import time

from coredumpd import errors
from coredumpd.formats import core_pattern
from coredumpd.handler.evidence import process

SO_PEERPIDFD = 77  # Linux 6.5, include/uapi/asm-generic/socket.h
PIDFD_GET_INFO = 0xC048FF0B  # _IOWR(0xFF, 11, 72 bytes): the layout of Linux 6.16, VER1
_INFO_BYTES = 72
_CREDS, _COREDUMP, _COREDUMP_SIGNAL = 1 << 1, 1 << 4, 1 << 6  # PIDFD_INFO_*; the last from 6.19
_COREDUMPED, _AS_USER, _AS_ROOT = 1 << 0, 1 << 2, 1 << 3  # PIDFD_COREDUMP_*
_PF_DUMPCORE = 0x200  # include/linux/sched.h; set on the one thread that dumps
_STAT_FLAGS, _STAT_EXIT_CODE = 6, 49  # proc(5) fields 9 and 52, counted after the comm
_RLIMIT_UNLIMITED = 2**64 - 1


class Info:
    """The answer to PIDFD_GET_INFO, as far as a crash needs it."""

    __slots__ = ("dump_mode", "gid", "pid", "signal", "uid")

    pid: int
    uid: int  # real, in the initial user namespace
    gid: int
    dump_mode: int  # as %d: 1 owner, 2 suidsafe
    signal: int | None  # None before Linux 6.19


def crash(connection: int) -> core_pattern.CrashArgs:
    """The crash that the kernel opened `connection` for; its `pidfd` is the caller's to close.

    Raises Forbidden for a peer that is not dumping core, NotFound when it is gone.
    """
    pidfd = _pidfd(connection)
    try:
        peer_info = info(pidfd)
    except errors.CoredumpdError:
        os.close(pidfd)
        raise
    args = core_pattern.CrashArgs()
    args.pidfd = pidfd
    args.pid = peer_info.pid
    args.uid, args.gid = peer_info.uid, peer_info.gid
    args.dump_mode = peer_info.dump_mode
    args.time = int(time.time())
    try:
        _complete(args, peer_info)
    except (OSError, LookupError, ValueError) as error:
        raise errors.NotFound(f"process {args.pid} went away: {error}") from error
    return args


def info(pidfd: int) -> Info:
    """Ask the kernel. Raises Forbidden unless the process of `pidfd` is dumping core."""
    answer = bytearray((_CREDS | _COREDUMP | _COREDUMP_SIGNAL).to_bytes(8, "little"))
    answer += bytes(_INFO_BYTES - len(answer))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, answer)
    except OSError as error:
        raise errors.Forbidden(f"cannot identify the peer: {error.strerror}") from error

    def number(offset: int, width: int = 4) -> int:
        return int.from_bytes(answer[offset : offset + width], "little")

    answered, dumped = number(0, 8), number(64)
    peer_info = Info()
    peer_info.pid = number(20)  # tgid: pid, at 16, is the thread's
    if not answered & _COREDUMP or not dumped & _COREDUMPED:
        raise errors.Forbidden(f"process {peer_info.pid} connected without dumping core")
    peer_info.uid, peer_info.gid = number(28), number(32)
    peer_info.dump_mode = 2 if dumped & _AS_ROOT else 1 if dumped & _AS_USER else 0
    peer_info.signal = number(68) if answered & _COREDUMP_SIGNAL else None
    return peer_info


def _pidfd(connection: int) -> int:
    peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection)
    try:
        return peer.getsockopt(_socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        raise errors.Forbidden(f"cannot identify the peer: {error.strerror}") from error
    finally:
        peer.detach()


def _complete(args: core_pattern.CrashArgs, about: Info) -> None:
    directory = f"{process.PROC}/{args.pid}"
    # group_exit_code is the signal from the moment the dump begins (fs/coredump.c, zap_process).
    args.signal = about.signal or _stat(directory, _STAT_EXIT_CODE) & 0x7F
    args.tid = _dumping_thread(directory, args.pid)
    status = process.fields(process.read(None, f"{directory}/task/{args.tid}/status"))
    args.ns_pid, args.ns_tid = int(status["NStgid"][-1]), int(status["NSpid"][-1])
    args.rlimit_core = core_limit(process.read(None, f"{directory}/limits"))


def _dumping_thread(directory: str, pid: int) -> int:
    """The main thread in most programs; else the one among up to thousands with the flag."""
    if _stat(f"{directory}/task/{pid}", _STAT_FLAGS) & _PF_DUMPCORE:
        return pid
    for name in os.listdir(f"{directory}/task"):
        if _stat(f"{directory}/task/{name}", _STAT_FLAGS) & _PF_DUMPCORE:
            return int(name)
    raise LookupError("none of its threads is dumping core")


def _stat(directory: str, field: int) -> int:
    return int(process.read(None, f"{directory}/stat").rpartition(b")")[2].split()[field])


def core_limit(limits: bytes) -> int:
    """The soft RLIMIT_CORE in bytes, as %c writes it, from `/proc/PID/limits`."""
    line = limits.partition(b"Max core file size")[2]
    word = line.split(None, 1)[0]
    return _RLIMIT_UNLIMITED if word == b"unlimited" else int(word)
