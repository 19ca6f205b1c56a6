"""One crash after its first bytes: decide, stream, commit, report.

The way of a crash, from the kernel to kubectl:

1. A process dies of a signal that dumps core. The kernel stops it and runs core_pattern: it starts
   `coredumpd handle …` with a pipe as standard input (`main`), or connects to the listener of the
   capture socket, which forks a worker (`socket/listener`). `formats/core_pattern` is the contract.
2. `crash.begin` opens /proc/PID, which pins that process, and reads the first bytes. Only then
   are most modules imported, this one too: meanwhile the kernel fills the pipe again.
3. `run`, here, reads policy.json, which the agent wrote, and checks by /proc that the pinned
   process is the one that crashed (`evidence/process`). Its cgroup identifies pod and container
   (`formats/cgroup`); the container runtime's state file has their names (`evidence/container`).
4. The policy may skip the crash, and limits what is stored (`limits`). A skipped crash ends here,
   and so does one of a tenant that has its share of captures already (`shares`, `slots`).
5. `<id>.part` is made in the spool, with a first record (`describe`). The handler opens the
   process's memory (`memory/access`), gives up its rights (`sandbox/enter`), and compresses the
   core into core.gz (`spool/copier`): headers and notes from the pipe, all else from that memory
   (`memory/source`), or from the pipe too where it cannot be read (`spool/stream`). It closes the
   pipe: the process may go. The record is completed, and `<id>.part` renamed `<id>`
   (`spool/capture`).
6. A line in the kernel's log reports the outcome (`formats/kernel_log`); the agent counts by it.
7. The agent finds `<id>` in the spool, asks Kubernetes for the pod, seals the core if the namespace
   wants that, and ships core.gz and meta.json to the store (`agent/shipping`).
8. The server lists what is in the store as Coredump objects and serves it as an archive: `kubectl
   get coredumps`, or `coredumpd download` (`server/coredumps`, `server/downloads`).

Tested in: tests/integration/capture/test_by_hand.py
"""

from __future__ import annotations

import os
import sys
import time

from coredumpd import durable, errors
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import kernel_log, names, policy
from coredumpd.handler import crash as crashes
from coredumpd.handler import describe, limits, shares, slots
from coredumpd.handler.evidence import container, process
from coredumpd.handler.memory import access, source
from coredumpd.handler.sandbox import enter
from coredumpd.spool import capture, copier, owner, stream


def run(crash: crashes.Crash) -> None:
    """Store `crash`, or skip it by policy; closes its source.

    Raises the CoredumpdError that kept it from being stored. The source is closed as soon as no
    more of it is needed: that lets the kernel, and so the container, get on with dying.
    """
    host_dir = durable.open_directory(crash.host_dir)  # all below it is opened without links
    _obey(crash, policy.load_in_force(host_dir))
    crash.is_self_test = _is_self_test(crash, host_dir)
    _identify(crash)
    limit = limits.of_core(crash.rules, crash.args.rlimit_core)
    if crash.is_self_test:  # no policy is about it, and it takes nobody's slot
        refusal = _store(crash, host_dir, limit)
        if refusal is not None:
            raise errors.StorageError(refusal)
        return
    reason = _reason_to_skip(crash, limit)
    if reason is None:
        refusal = _take_slots(crash, host_dir) or _store(crash, host_dir, limit)
        if refusal is None:
            return
        message = kernel_log.refused(
            crash.args.pid, crash.process.comm, _owner_text(crash), refusal, crash.container_id
        )
        kernel_log.write(kernel_log.WARNING, message)
        os.close(crash.source)
        return
    # The line is written before the process may go: then nobody finds it gone and unreported.
    pid, comm = crash.args.pid, crash.process.comm
    if reason == crash.process.unvouched:
        kernel_log.write(kernel_log.WARNING, kernel_log.unvouched(pid, comm, reason))
    else:
        kernel_log.write(kernel_log.INFO, kernel_log.skipped(pid, comm, reason, crash.container_id))
    os.close(crash.source)


def _obey(crash: crashes.Crash, rules: policy.Policy) -> None:
    """Take the policy's deadline, priority and /proc."""
    crash.rules = rules
    crashes.set_deadline(rules.captureTimeout)
    # The node's own work goes first, in a storm of crashes too.
    os.nice(rules.niceness)
    # sched(7): it does not preempt whom it wakes up beside; what it gets in the end is the same.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if rules.procDir != crashes.PROC:
        crash.pin(rules.procDir)


def _is_self_test(crash: crashes.Crash, host_dir: int) -> bool:
    """Has the guard named this process as the one that it crashes now?"""
    try:
        os.stat(host_dirs.SELF_TEST, dir_fd=host_dir, follow_symlinks=False)
    except OSError:
        return False  # always, but for a moment now and then
    from coredumpd.handler.evidence import own_test

    return own_test.is_named(crash, host_dir)


def _identify(crash: crashes.Crash) -> None:
    """Learn the process, its container, and the policy for its pod. Raises as `examine`."""
    if crash.directory is None:
        raise errors.NotFound(f"process {crash.args.pid} is gone")
    crash.process = process.examine(crash.args, crash.directory, crash.rules.cgroupRoot or "/")
    crash.owner = container.identify(crash.process, crash.rules)
    place = crash.process.place
    if place is not None:
        owner = crash.owner
        names = (owner.namespace, owner.pod_name) if owner else (None, None)
        crash.rules.narrow(place.pod_uid, *names)


def _reason_to_skip(crash: crashes.Crash, limit: limits.Limit) -> str | None:
    rules, place = crash.rules, crash.process.place
    own = process.program_file(None, f"{crashes.PROC}/self/maps")
    if hasattr(sys, "frozen") and crash.process.program_file == own:
        return "it is this handler"
    if place is None and rules.hostCrashes == "ignore":
        return crash.process.unvouched or "it is in no pod (policy.hostCrashes: ignore)"
    if place is not None and rules.capture == "disabled":
        return "capture is disabled for its pod"
    if limit.size == 0 and not rules.quotaReached:  # then the record is kept, and says so
        return f"it may dump nothing ({limit.reason})"
    return None


def _take_slots(crash: crashes.Crash, host_dir: int) -> str | None:
    """Take a slot among the handlers, then wait for one to capture in; a refusal's reason."""
    place = crash.process.place
    holder = shares.Holder(_tenant(crash), place.pod_uid if place else "")
    handlers = slots.handlers()
    captures = min(crash.rules.captureSlots, handlers)
    deadline = crash.begun_clock + crash.rules.captureTimeout
    return slots.take(host_dir, host_dirs.HANDLER_SLOTS, handlers, holder) or slots.wait(
        host_dir, host_dirs.CAPTURE_SLOTS, captures, holder, deadline
    )


def _tenant(crash: crashes.Crash) -> str:
    """The tenant in whose share it counts; pods of unknown namespaces are one, "-"."""
    if crash.is_self_test:
        return names.SELF_TEST_TENANT
    if crash.process.place is None:
        return names.HOST_NAMESPACE
    return crash.owner.namespace if crash.owner else capture.UNKNOWN


def _store(crash: crashes.Crash, host_dir: int, limit: limits.Limit) -> str | None:
    """Store the core; the reason if the tenant's share of the spool has no room for a record."""
    record = describe.begun(crash)
    spool = durable.open_directory(host_dirs.SPOOL, create=True, below=host_dir)
    tenant = _tenant(crash)
    room = limits.of_spool(spool, tenant, crash.rules)
    if room is None:
        return "its namespace has its share of the spool's entries (spoolMaxEntries)"
    id = host_dirs.SELF_TEST_ENTRY if crash.is_self_test else record.id
    entry = capture.Capture.create(
        spool, id, tenant, limits.reservation(room.size, limit.size, crash.first)
    )
    entry.note(record)
    try:
        owner.mark(entry.directory, record)
    except OSError as error:
        kernel_log.write(kernel_log.WARNING, f"cannot mark the spool's entries: {error.strerror}")
    deadline = crash.begun_clock + crash.rules.captureTimeout
    origin = _Origin(crash, deadline)
    keep_free = crash.rules.spoolKeepFree
    core = copier.Copier(entry.core, limit.size, room.size, keep_free=keep_free)
    from coredumpd.handler import failure  # noqa: F401  # in the sandbox no module can be read

    if crash.move is not None:  # a thread that makes it would have no sandbox
        crash.move.wait()
    enter.enter(spool, entry.directory, origin.pagemap)
    result = core.copy(origin.source)
    os.close(crash.source)
    cut_at = None
    if result.reason == copier.MAX_SIZE:
        result.reason, cut_at = limit.reason, limit.size
    if result.reason == copier.SPOOL_FULL:
        result.reason = room.reason
    duration_s = time.monotonic() - crash.begun_clock
    record = describe.finished(record, result, core.prologue, cut_at, duration_s)
    entry.commit(record.with_capture(**origin.facts()))
    outcome = kernel_log.stored(
        record.id, _owner_text(crash), result.size, result.stored_size, result.reason
    )
    if crash.is_self_test:
        outcome = kernel_log.tested(crash.args.pid)
    kernel_log.write(kernel_log.INFO, outcome)
    return None


class _Origin:
    """Where a core comes from: its process's memory, or the kernel's stream alone."""

    def __init__(self, crash: crashes.Crash, deadline: float) -> None:
        self._stream_name = crash.mode
        self._memory: source.Source | None = None
        self._problem = "its process is not dumping core"
        self.pagemap: int | None = None  # its descriptor
        self.source: stream.Stream | source.Source
        self.source = stream.Stream(crash.source, crash.first, deadline)
        directory = crash.directory
        try:
            if directory is None or not process.is_dumping(directory, crash.args.tid):
                return
            memory = access.Memory(directory, crash.args.tid)
        except OSError as error:
            self._problem = f"its memory cannot be opened: {error.strerror}"
            return
        self.pagemap = memory.pagemap
        self.source = self._memory = source.Source(self.source, memory)

    def facts(self) -> dict[str, str | None]:
        """Of the record's `capture`: the source, and the reason why it is not the memory."""
        if self._memory is None:
            return {"source": self._stream_name, "sourceReason": self._problem}
        if self._memory.from_memory:
            return {"source": "memory", "sourceReason": None}
        return {"source": self._stream_name, "sourceReason": self._memory.fallback}


def _owner_text(crash: crashes.Crash) -> str:
    owner = crash.owner
    return f"{owner.namespace}/{owner.pod_name}/{owner.container}" if owner else "an unnamed owner"
