"""One crash from its first bytes on: decide, stream, commit, say what was done.

Knows neither argv nor stdin, so that it serves whatever hands it a descriptor and the facts.
"""

from __future__ import annotations

import os
import sys
import time

from coredumpd import durable, errors
from coredumpd.formats import core_pattern, kernel_log, policy
from coredumpd.formats import host_dir as host_dirs
from coredumpd.handler import describe, limits
from coredumpd.handler.evidence import process, runtime
from coredumpd.handler.sandbox import enter
from coredumpd.spool import capture
from coredumpd.spool import copier as stream


def run(
    source: int,
    first: bytes,
    args: core_pattern.CrashArgs,
    crashed: process.Process,
    rules: policy.Policy,
    host_dir: str,
    begun: tuple[float, float],
    mode: str,
) -> None:
    """Store `first` and the rest of `source`, or skip by policy; closes `source`.

    `begun` is the capture's start: seconds since the epoch, and on the monotonic clock.
    `mode` is how it came, for the record.
    Raises the CoredumpdError that kept it from being stored. `source` is closed as soon as nothing
    more of it is wanted: that lets the kernel, and so the container, get on with dying.
    """
    begun_at, begun_clock = begun
    owner = _owner(rules, crashed)
    if crashed.place is not None:
        rules.narrow(crashed.place.pod_uid, owner.namespace if owner else None)
    limit = limits.of_core(rules, args.rlimit_core)
    reason = _reason_to_skip(crashed, rules, limit)
    if reason:
        # The line before the process may go: nobody then finds it gone and nothing said of it.
        kernel_log.write(kernel_log.INFO, kernel_log.skipped(args.pid, crashed.comm, reason))
        os.close(source)
        return
    crash = describe.begun(args, crashed, owner, rules.node, begun_at, mode)
    spool = _spool(host_dir)
    room = limits.of_spool(spool, rules)
    entry = capture.Capture.create(spool, crash.id)
    entry.note(crash)
    copier = stream.Copier(entry.core, limit.size, begun_clock + rules.captureTimeout, room)
    enter.enter(spool, entry.directory)
    stored = copier.copy(source, first)
    os.close(source)
    cut_at = None
    if stored.reason == stream.MAX_SIZE:
        stored.reason, cut_at = limit.reason, limit.size
    duration_s = time.monotonic() - begun_clock
    entry.commit(describe.finished(crash, stored, cut_at, duration_s))
    whose = f"{owner.namespace}/{owner.pod_name}/{owner.container}" if owner else "an unnamed owner"
    kernel_log.write(
        kernel_log.INFO,
        kernel_log.stored(crash.id, whose, stored.size, stored.stored_size, stored.reason),
    )


def _reason_to_skip(
    crashed: process.Process, rules: policy.Policy, limit: limits.Limit
) -> str | None:
    own = os.stat(f"{process.PROC}/self/exe")
    if hasattr(sys, "frozen") and crashed.exe_inode == (own.st_dev, own.st_ino):
        return "it is this handler"
    if crashed.place is None and rules.hostCrashes == "ignore":
        return "it is in no pod (policy.hostCrashes: ignore)"
    if crashed.place is not None and rules.capture == "disabled":
        return "capture is disabled for its pod"
    if limit.size == 0 and not rules.quotaReached:  # then the record is kept, and says so
        return f"it may dump nothing ({limit.reason})"
    return None


def _owner(rules: policy.Policy, crashed: process.Process) -> runtime.Container | None:
    """Names from the runtime's state; without them the agent asks the API for the pod's uid."""
    if crashed.place is None:
        return None
    try:
        return runtime.find(rules.runtimeStateDirs, crashed.place)
    except errors.CoredumpdError as error:
        container = crashed.place.container_id
        kernel_log.write(
            kernel_log.WARNING, f"container {container} known by its cgroup only: {error}"
        )
        return None


def _spool(host_dir: str) -> int:
    os.close(durable.open_directory(host_dir))
    return durable.open_directory(f"{host_dir}/{host_dirs.SPOOL}", create=True)
