"""The reasons for which the kernel's cores do not arrive, each with its sentence and its remedy.

docs/operations.md shows this table, made by `make update`.

Tested in: tests/unit/agent/selftest/test_diagnosis.py
"""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """One reason. `sentence` and `remedy` are templates over the fields of `diagnosis.Facts`."""

    name: str  # the metric's label
    sentence: str
    remedy: str
    fails: bool = True  # is it a reason for which /healthz fails?


PASSED = Cause("passed", "the kernel runs the handler, and the spool takes its entry", "", False)
FULL = Cause(
    "spool-full",
    "the spool is full, and a crash leaves a record at most: {problem}",
    "see whether dumps reach the store; raise policy.spoolMaxUse or spoolMaxEntries, or free the"
    " disk",
    False,
)
BUSY = Cause(
    "busy",
    "too many crashes at once for a self-test: {kernel}",
    "none is needed: it is repeated",
    False,
)
READ_ONLY = Cause(
    "read-only",
    "hostDir {host_dir} is mounted read-only: {problem}",
    "mount it writable, or set agent.hostDir to a directory that is",
)
HANDLER = Cause(
    "handler",
    "the kernel runs the handler, but it stores nothing: {problem}",
    "the message is the handler's own, and also in the node's kernel log",
)
GUARD = Cause(
    "guard",
    "the agent cannot begin a self-test: {problem}",
    "see whether the guard can write hostDir {host_dir}, and start processes",
)
NOEXEC = Cause(
    "noexec",
    "hostDir {host_dir} is mounted noexec on the host, so the kernel cannot run the handler",
    "mount it with exec, or set agent.hostDir to a directory that is (on GKE's COS:"
    " /home/kubernetes/bin/coredumpd)",
)
LOADER = Cause(
    "loader",
    "the installed handler does not start on the host: {start}",
    "restart the agent, which repairs what is installed; if that does not help, run"
    " {host_dir}/current/coredumpd by hand on the host",
)
HIDDEN = Cause(
    "hidden",
    "the host's files do not have the agent's hostDir {host_dir}, where the kernel looks for the"
    " handler",
    "give the agent the host's directory of the same path (hostPath {host_dir})",
)
NESTED = Cause(
    "nested",
    "this node is a container itself (kind, k3d), and the kernel looks for hostDir {host_dir} on"
    " the machine outside, where this node's handler is not",
    "mount a directory of the machine into the node at the same path (kind: extraMounts with equal"
    " hostPath and containerPath)",
)
STATIC_HELPER = Cause(
    "static-helper",
    "the kernel is built with CONFIG_STATIC_USERMODEHELPER (path {static_helper!r}) and never runs"
    " the handler",
    "agent.capture: socket, on Linux 6.17 and newer (auto tries it by itself)",
)
SELINUX = Cause(
    "selinux",
    "SELinux is enforcing and the kernel did not run the handler, whose label is {selinux_label!r}",
    "allow kernel_t to execute it (the node's audit log has the denial), or agent.capture: socket,"
    " on Linux 6.17 and newer",
)
LISTENER = Cause(
    "listener",
    "nobody takes cores from the capture socket: {kernel}",
    "restart the agent, or agent.capture: pipe",
)
KILLED = Cause(
    "killed",
    "the kernel handed the core to the handler, which ended without a word and without an entry",
    "see what kills it: a security agent, a seccomp or LSM policy (the node's audit log), the"
    " OOM killer",
)
HANGS = Cause(
    "hangs",
    "the handler has not ended, nor written an entry, in time",
    "see whether the disk of hostDir {host_dir} answers",
)
UNKNOWN = Cause(
    "unknown",
    "the kernel reached no handler, and nothing on the node says why; its log: {kernel}",
    "look for a security module that keeps the kernel from running {host_dir}/current/coredumpd",
)
CAUSES = (
    *(PASSED, FULL, BUSY, READ_ONLY, GUARD, HANDLER, NOEXEC, LOADER, HIDDEN, STATIC_HELPER),
    *(SELINUX, LISTENER, NESTED, KILLED, HANGS, UNKNOWN),
)
