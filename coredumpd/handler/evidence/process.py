"""The crashing process, read through one directory fd and believed only if it is the right one.

Between the crash and our first read the process may die and its pid may be taken by another
(CVE-2025-5054, CVE-2025-4598). A directory fd of `/proc/PID` keeps naming the process it was opened
on, so it is opened once, everything is read below it, and the facts are then compared with those
that the kernel gave on the command line.

All of it is read below `task/TID`, the thread that crashed. `/proc/PID` itself shows the main
thread, which may have gone before: then it has no exe, cwd or maps, and where cgroups are v1 and
Linux older than 5.16, a main thread that is ending is shown in the root cgroup.

Nothing here opens or stats a file of the crashed process: on a file system that hangs (a FUSE
server of its own, NFS) that would never return. A link below /proc is read without either, and
`maps` has the device and inode of the program.

Tested in: tests/integration/capture/test_attacks.py
"""

from __future__ import annotations

import os
import time

from coredumpd import errors, log
from coredumpd.formats import cgroup, core_pattern

PROC = "/proc"
FILE_BYTES_MAX = 64 * 1024
MAPS_BYTES = 256  # the first line as far as its path
TEXT_CHARS_MAX = 4096
# proc(5): how the path ends of a program whose file was removed or replaced, or is in memory only.
# That of a file whose own name ends so looks the same.
_DELETED = b" (deleted)"


class Process:
    """Facts about one process. Text is escaped: printable ASCII, bounded."""

    __slots__ = (
        "cgroup_path",
        "comm",
        "cwd",
        "exe",
        "exe_deleted",
        "outermost",
        "place",
        "program_file",
        "start_time",
        "threads",
        "unvouched",
    )

    cgroup_path: str
    comm: str
    cwd: str | None
    exe: str | None
    exe_deleted: bool  # no file has that path any more
    outermost: tuple[str, str] | None  # id and cgroup of a container, if `place` is None
    place: cgroup.Place | None
    program_file: tuple[bytes, bytes] | None  # device, inode as in `maps`: no name can forge them
    start_time: float  # seconds since the epoch
    threads: int | None  # how many the process has
    unvouched: str | None  # why it is nobody's, though it is in a container


def examine(args: core_pattern.CrashArgs, directory: int, cgroup_root: str) -> Process:
    """Facts about the process that `args` names, below its `/proc/PID`, open as `directory`.

    `cgroup_root` is the kubelet's. Raises NotFound when it is gone and Conflict when another one
    has its pid.
    """
    try:
        return _examine(args, directory, cgroup_root)
    except OSError as error:
        raise errors.NotFound(f"process {args.pid} went away: {error.strerror}") from error


def _examine(args: core_pattern.CrashArgs, directory: int, cgroup_root: str) -> Process:
    thread = f"task/{args.tid}"
    start_ticks = _start_ticks(read(directory, "stat"))
    status = fields(read(directory, f"{thread}/status"))
    mismatch = _mismatch(args, status)
    if start_ticks > _start_ticks(read(None, f"{PROC}/self/stat")):
        mismatch = "it started after this handler"
    if mismatch:
        raise errors.Conflict(f"process {args.pid} is not the one that crashed: {mismatch}")
    process = Process()
    text = read(directory, f"{thread}/cgroup")
    process.place = cgroup.place(text, cgroup_root)
    process.outermost = cgroup.outermost(text) if process.place is None else None
    process.unvouched = None
    process.cgroup_path = _escaped(cgroup.shown(text, cgroup_root))
    process.comm = _printable(read(directory, "comm").removesuffix(b"\n"))
    program = _link(directory, f"{thread}/exe")
    process.exe_deleted = program is not None and program.endswith(_DELETED)
    process.exe = None if program is None else _printable(program.removesuffix(_DELETED))
    cwd = _link(directory, f"{thread}/cwd")
    process.cwd = None if cwd is None else _printable(cwd)
    process.program_file = program_file(directory, f"{thread}/maps")
    threads = status.get("Threads", [""])[0]
    process.threads = int(threads) if threads.isdecimal() else None
    process.start_time = _since_epoch(start_ticks)
    # Last of all: while the pidfd's process exists, everything above was read from it.
    if args.pidfd is not None and _pid_of(args.pidfd) != args.pid:
        raise errors.Conflict(f"process {args.pid} is not the one that crashed: the pidfd differs")
    return process


def _mismatch(args: core_pattern.CrashArgs, status: dict[str, list[str]]) -> str | None:
    """The line of `/proc/PID/task/TID/status` that contradicts the kernel's arguments, or None."""
    if status.get("Tgid", [""])[0] != str(args.pid):
        return f"thread {args.tid} belongs to another process"
    for name, expected in (("Uid", args.uid), ("Gid", args.gid)):
        if status.get(name, [""])[0] != str(expected):
            return f"{name} is {status.get(name)}, not {expected}"
    if status.get("NSpid", [""])[-1] != str(args.ns_tid):
        return f"NSpid is {status.get('NSpid')}, not {args.ns_tid}"
    # Without a pidfd (before Linux 6.16) this line is the best proof: a process that took the pid
    # is not dumping core.
    if args.pidfd is None and status.get("CoreDumping", ["1"]) != ["1"]:
        return "it is not dumping core"
    return None


def is_dumping(directory: int, tid: int) -> bool:
    """Does the kernel hold the process, below its `/proc/PID`, for its core? Raises OSError."""
    return fields(read(directory, f"task/{tid}/status")).get("CoreDumping", ["1"]) == ["1"]


def read(directory: int | None, name: str, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """The start of a file of /proc, below the descriptor `directory` if given."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    try:
        pieces = []
        remaining = bytes_max
        while remaining and (piece := os.read(fd, remaining)):
            pieces.append(piece)
            remaining -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def fields(status: bytes) -> dict[str, list[str]]:
    """`Key: words` of a status file; the first wins. The kernel escapes newlines in `Name`."""
    values: dict[str, list[str]] = {}
    for line in status.decode("ascii", "replace").split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key, value.split())
    return values


def _start_ticks(stat: bytes) -> int:
    """Field 22 of `/proc/PID/stat` (proc(5)): clock ticks from boot to start.

    Fields are counted from the LAST parenthesis, because comm may hold any byte but a NUL.
    """
    fields = stat.rpartition(b")")[2].split()
    if len(fields) < 20 or not fields[19].isdigit():
        raise errors.Conflict("the process's stat file is not one")
    return int(fields[19])


def _since_epoch(ticks: int) -> float:
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _pid_of(pidfd: int) -> int | None:
    """The pid in `/proc/self/fdinfo/FD`; -1 once it was reaped, None if FD is no pidfd."""
    try:
        words = fields(read(None, f"{PROC}/self/fdinfo/{pidfd}")).get("Pid", [])
        return int(words[0]) if words else None
    except (OSError, ValueError):
        return None  # not a descriptor of ours: the caller refuses


def _link(directory: int, name: str) -> bytes | None:
    """A link's text. A kernel thread has no exe, a dead mount no cwd: null in the record."""
    try:
        return os.fsencode(os.readlink(name, dir_fd=directory))
    except OSError:
        return None


def program_file(directory: int | None, maps: str) -> tuple[bytes, bytes] | None:
    """Device and inode of the first mapping in a `maps` file (proc(5)): the program's own file.

    None when nothing is mapped: a kernel thread, or a thread that has gone.
    """
    words = read(directory, maps, MAPS_BYTES).split(b"\n", 1)[0].split()
    return (words[3], words[4]) if len(words) >= 5 else None


def _printable(raw: bytes) -> str:
    return _escaped(raw.decode("utf-8", "backslashreplace"))


def _escaped(text: str) -> str:
    return log.escape(text)[:TEXT_CHARS_MAX]
