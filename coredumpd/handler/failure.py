"""Report a crash that was not stored: to the kernel's log, and to whoever runs the handler by hand.

`main` imports this module only when something has failed.

Tested in: tests/integration/capture/test_by_hand.py
"""

from __future__ import annotations

import sys

from coredumpd import errors
from coredumpd.formats import kernel_log

UNEXPECTED = errors.CoredumpdError.exit_code


def report(pid: int | None, error: Exception, container: str | None = None) -> int:
    """Tell what kept the crash of process `pid` from being stored; the handler's exit code.

    `pid` and `container`, an id, are None when they are not known yet. An error that is not one of
    ours is a bug.
    """
    if isinstance(error, errors.CoredumpdError):
        problem, exit_code = str(error), error.exit_code
    else:
        problem, exit_code = f"unexpected {type(error).__name__}: {error}", UNEXPECTED
    kernel_log.write(kernel_log.ERROR, kernel_log.not_stored(pid, problem, container))
    print(f"coredumpd: {problem}", file=sys.stderr)
    return exit_code
