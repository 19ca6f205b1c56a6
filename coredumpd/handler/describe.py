"""Make a crash's record from its facts. Pure but for the machine's own name and boot id."""

from __future__ import annotations

import os
import time

from coredumpd import __version__
from coredumpd.formats import names
from coredumpd.formats import record as records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coredumpd.gzipio import member
    from coredumpd.handler import crash as crashes

BOOT_ID = "/proc/sys/kernel/random/boot_id"

# signal(7), x86 and arm64. Only these dump core by default, but any can with SECCOMP_RET_KILL.
_SIGNALS = """
HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT
STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS
"""
_NAMES = dict(enumerate(_SIGNALS.split(), start=1))


def signal_name(number: int) -> str | None:
    """The name of a signal, "SIGSEGV" for 11; None for a number without a name."""
    return f"SIG{_NAMES[number]}" if number in _NAMES else None


def timestamp(seconds: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    whole = min(int(seconds), 253402300799)  # the last second of the year 9999
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{text}.{int(seconds % 1 * 1000):03d}Z"


def begun(crash: crashes.Crash) -> records.CrashRecord:
    """The record as far as it is known before the core is stored."""
    args, crashed, owner = crash.args, crash.process, crash.owner
    # %t has whole seconds; while that second lasts, our own clock knows the milliseconds.
    time_s = crash.begun_s if int(crash.begun_s) == args.time else float(args.time)
    place = crashed.place
    id = names.make_id(
        (crashed.exe or crashed.comm).rpartition("/")[2],
        args.time,
        args.pid,
        int.from_bytes(os.urandom(2), "big"),
    )
    return records.compose(
        {
            "version": records.VERSION,
            "id": id,
            "time": timestamp(time_s),
            "node": crash.rules.node,
            "kernel": os.uname().release,
            "boot.id": _boot_id(),
            "namespace": owner.namespace if owner else None if place else names.HOST_NAMESPACE,
            "namespaceUID": _namespace_uid(crash),
            "podName": owner.pod_name if owner else None,
            "podUID": place.pod_uid if place else None,
            "container": owner.container if owner else None,
            "containerID": place.container_id if place else None,
            "image": owner.image if owner else None,
            "process.pid": args.pid,
            "process.nsPid": args.ns_pid,
            "process.tid": args.tid,
            "process.nsTid": args.ns_tid,
            "process.uid": args.uid,
            "process.gid": args.gid,
            "process.comm": crashed.comm,
            "process.exe": crashed.exe,
            "process.cwd": crashed.cwd,
            "process.startTime": timestamp(crashed.start_time),
            "process.rlimitCore": args.rlimit_core,
            "process.dumpMode": args.dump_mode,
            "process.cgroup": crashed.cgroup_path,
            "signal.number": args.signal,
            "signal.name": signal_name(args.signal),
            "core.size": 0,
            "core.storedSize": 0,
            "core.crc32": "00000000",
            "core.truncated.is": True,
            "core.truncated.reason": "the handler died",
            "core.members": 0,
            "capture.mode": crash.mode,
            "capture.startedAt": timestamp(crash.begun_s),
            "capture.handlerVersion": __version__,
            "capture.attribution": "runtime" if owner else "cgroup-only",
        }
    )


def _namespace_uid(crash: crashes.Crash) -> str | None:
    place, owner = crash.process.place, crash.owner
    if place is None or owner is None:
        return None
    return crash.rules.namespace_uid(place.pod_uid, owner.namespace, owner.pod_name)


def finished(
    record: records.CrashRecord, stored: member.Result, limit: int | None, duration_s: float
) -> records.CrashRecord:
    """`record` completed with what was stored; `limit` is the byte that cut the core, if any."""
    completed = record.with_core(
        size=stored.size,
        storedSize=stored.stored_size,
        crc32=f"{stored.crc32:08x}",
        sparseBytes=stored.sparse_size,
        truncated={
            "is": stored.reason is not None,
            "reason": stored.reason,
            "limit": limit,
        },
        members=stored.members,
    )
    return completed.with_capture(durationMs=int(duration_s * 1000))


def _boot_id() -> str | None:
    try:
        fd = os.open(BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # no such file in a reduced /proc: null, not invented
    try:
        return os.read(fd, 64).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
