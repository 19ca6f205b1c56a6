"""Make a crash's record from its facts. Pure but for the machine's own name and boot id."""

from __future__ import annotations

import os
import time

from coredumpd import __version__
from coredumpd.elfcore import notes
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.handler import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from coredumpd.elfcore import prologue
    from coredumpd.gzipio import member
    from coredumpd.handler import crash as crashes

BOOT_ID = "/proc/sys/kernel/random/boot_id"


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
        names.program(crashed.exe, crashed.comm),
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
            "process.exeDeleted": crashed.exe_deleted,
            "process.cwd": crashed.cwd,
            "process.startTime": timestamp(crashed.start_time),
            "process.threads": crashed.threads,
            "process.rlimitCore": args.rlimit_core,
            "process.dumpMode": args.dump_mode,
            "process.cgroup": crashed.cgroup_path,
            "signal.number": args.signal,
            "signal.name": signals.name(args.signal),
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
    record: records.CrashRecord,
    stored: member.Result,
    start: prologue.Prologue,
    limit: int | None,
    duration_s: float,
) -> records.CrashRecord:
    """`record` completed with what was stored, and with what the core's `start` says.

    `limit` is the byte that cut the core, if any.
    """
    completed = record.with_signal(**_fault(record.signal_number, start)).with_core(
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
        malformed=start.problem,
    )
    return completed.with_capture(durationMs=int(duration_s * 1000))


def _fault(signal: int, start: prologue.Prologue) -> dict[str, Any]:
    """The fields of `signal` that only the core's notes have; the kernel names the `signal`."""
    if start.header is None:
        return {}
    fault = notes.fault(start.header, start.notes)
    if fault.signal not in (None, signal):
        return {}  # not the core of this crash
    return {
        "code": fault.code,
        "codeName": None if fault.code is None else signals.code_name(signal, fault.code),
        "address": None if fault.address is None else hex(fault.address),
        "pc": None if fault.pc is None else hex(fault.pc),
    }


def _boot_id() -> str | None:
    try:
        fd = os.open(BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # no such file in a reduced /proc: null, not invented
    try:
        return os.read(fd, 64).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
