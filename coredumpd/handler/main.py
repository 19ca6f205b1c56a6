"""`coredumpd handle …`: run by the kernel as root, once per crash, with the core on stdin.

The kernel holds the dying process while we work, so the order is: pin the process, read the first
bytes (the pipe refills meanwhile), then decide, then stream. The environment is empty, fds 1 and 2
are closed, RLIMIT_CORE is 1, which keeps our own crash from being dumped (core(5)).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum
import os
import sys

from coredumpd import errors, log, pattern
from coredumpd.handler import capture, policy, process

USAGE = """\
usage: coredumpd handle {fields}

Capture one crash: the core is read from standard input. The kernel runs this
through core_pattern, from <hostDir>/versions/<digest>/coredumpd.

fields, as core(5) names them:
{table}"""

STDIN = 0
FIRST_READ_BYTES = 64 * 1024  # a pipe's default capacity
GRACE_S = 30  # after captureTimeout, for fsync on a slow disk; then SIGALRM ends the handler


def main(words: list[str]) -> int:
    """Capture one crash; the exit code is 0 when it was stored or ignored by policy.

    Raises the CoredumpdError that kept a crash from being stored, after logging it to the kernel's
    log: nobody reads a handler's stderr.
    """
    _occupy_standard_fds()
    if words[:1] in (["--help"], ["-h"]):
        table = "\n".join(f"  {name:12} {spec}  {text}" for name, spec, _, text in pattern.FIELDS)
        names = " ".join(name.upper() for name, *_ in pattern.FIELDS)
        print(USAGE.format(fields=names, table=table))
        return 0
    try:
        args = pattern.parse(words)
        host_dir = _host_dir(sys.executable if hasattr(sys, "frozen") else sys.argv[0])
        _signal.setitimer(_signal.ITIMER_REAL, policy.Policy().captureTimeout + GRACE_S)
        _capture(args, host_dir)
    except errors.CoredumpdError as error:
        log.kmsg(log.ERROR, f"crash not stored: {error}")
        raise
    except Exception as error:  # noqa: BLE001 (the last line of defence: no traceback, no recursion)
        log.kmsg(log.ERROR, f"crash not stored: unexpected {type(error).__name__}: {error}")
        print(f"coredumpd: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        return errors.CoredumpdError.exit_code
    return 0


def _capture(args: pattern.CrashArgs, host_dir: str) -> None:
    begun = capture.Begun()
    crashed, problem = _examined(args, process.PROC)
    first = os.read(STDIN, FIRST_READ_BYTES)
    rules = _policy(f"{host_dir}/policy.json")
    if rules.procDir != process.PROC:
        crashed, problem = _examined(args, rules.procDir)
    if problem is not None or crashed is None:
        raise problem or errors.NotFound(f"process {args.pid} is gone")
    _signal.setitimer(_signal.ITIMER_REAL, rules.captureTimeout + GRACE_S)
    capture.run(STDIN, first, args, crashed, rules, host_dir, begun)


def _examined(
    args: pattern.CrashArgs, proc_dir: str
) -> tuple[process.Process | None, errors.CoredumpdError | None]:
    """`process.examine`, its error kept for later: the policy may name another directory."""
    try:
        return process.examine(args, proc_dir), None
    except errors.CoredumpdError as error:
        return None, error


def _policy(path: str) -> policy.Policy:
    """The snapshot; the defaults, said aloud, when it cannot be believed."""
    try:
        return policy.load(path)
    except errors.CoredumpdError as error:
        log.kmsg(log.WARNING, f"going on with the default policy: {error}")
        return policy.Policy()


def _host_dir(executable: str) -> str:
    """`DIR` of `DIR/versions/<digest>/coredumpd`, links resolved. Raises UsageError elsewhere."""
    parts = os.path.realpath(executable).rsplit("/", 3)
    if len(parts) != 4 or parts[1] != "versions" or not parts[0]:
        rule = "the handler runs from <hostDir>/versions/<digest>/: use `coredumpd agent install`"
        cause = errors.Cause("executable", executable, rule)
        raise errors.UsageError(f"not installed: {cause}", (cause,))
    return parts[0]


def _occupy_standard_fds() -> None:
    """The kernel leaves 1 and 2 closed; a spool file must not become anyone's stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # lands on the lowest free number: this one
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
