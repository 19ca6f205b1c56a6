"""`coredumpd handle …`: run by the kernel as root, once per crash, with the core on stdin.

The kernel holds the dying process while we work, so the order is: pin the process, read the first
bytes (the pipe refills meanwhile), then decide, then stream. The environment is empty, fds 1 and 2
are closed, RLIMIT_CORE is 1, which keeps our own crash from being dumped (core(5)).

Each module that is loaded before the first bytes are read keeps the dying process waiting: what
only a failure needs, `errors` included, is imported when something has failed.

Tested in: tests/integration/capture/test_by_hand.py
"""

from __future__ import annotations

import os
import sys

from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs
from coredumpd.handler import crash

USAGE = """\
usage: coredumpd handle {fields}
       coredumpd handle --listen WORKERS

Capture one crash: the core is read from standard input. The kernel runs this
through core_pattern, from <hostDir>/versions/<digest>/coredumpd.

--listen: capture every crash for which the kernel connects to the socket on
standard input, WORKERS at once. The agent starts this.

fields, as core(5) names them:
{table}"""

STDIN = 0
LISTEN = "--listen"


def main(words: list[str]) -> int:
    """Capture one crash; the exit code is 0 when it was stored or ignored by policy.

    Raises nothing: `failure` reports what kept a crash from being stored.
    """
    _occupy_standard_fds()
    if words[:1] in (["--help"], ["-h"]):
        table = "\n".join(
            f"  {name:12} {spec}  {text}" for name, spec, _, text in core_pattern.FIELDS
        )
        names = " ".join(name.upper() for name, *_ in core_pattern.FIELDS)
        print(USAGE.format(fields=names, table=table))
        return 0
    pid, begun = None, None
    try:
        host_dir = _host_dir(sys.executable if hasattr(sys, "frozen") else sys.argv[0])
        if words[:1] == [LISTEN]:
            from coredumpd.handler.socket import listener

            return listener.main(words[1:], host_dir)
        crash.set_deadline(crash.DEFAULT_TIMEOUT_S)
        args = core_pattern.parse(words)
        pid = args.pid
        begun = crash.begin(STDIN, args, host_dir, "pipe")
        from coredumpd.handler import own_cgroup

        begun.move = own_cgroup.Move(host_dir)
        # Not before the first bytes are read: it loads most of the program.
        from coredumpd.handler import capture

        capture.run(begun)
    except Exception as error:  # noqa: BLE001 (the last line of defence: no traceback, no recursion)
        from coredumpd.handler import failure

        return failure.report(pid, error, begun.container_id if begun is not None else None)
    return 0


def _host_dir(executable: str) -> str:
    """`DIR` of `DIR/versions/<digest>/coredumpd`, links resolved. Raises UsageError elsewhere."""
    host_dir = host_dirs.of_launcher(os.path.realpath(executable))
    if host_dir is None:
        from coredumpd import errors

        rule = "the handler runs from <hostDir>/versions/<digest>/: use `coredumpd agent install`"
        cause = errors.Cause("executable", executable, rule)
        raise errors.UsageError(f"not installed: {cause}", (cause,))
    return host_dir


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
