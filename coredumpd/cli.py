"""The command line: its first word selects a role, and an exception becomes an exit code.

Each role is imported in its own branch, so that no role loads another one's modules.
"""

from __future__ import annotations

import os
import sys

from coredumpd import __version__, errors

USAGE = """\
usage: coredumpd ROLE [ARGUMENTS]

Core dumps of Kubernetes pods: captured by the kernel, downloaded with kubectl.

roles:
  handle      capture one crash (the kernel runs this through core_pattern)
  agent       install the handler, own core_pattern, ship dumps to the store
  server      serve coredump.fujitsu.com/v1alpha1, the aggregated API
  store       check, repair, measure and copy stores of dumps
  download    fetch the dumps of a pod, and open those that are encrypted
  demo        the whole way on this machine, without Kubernetes

`coredumpd ROLE --help` explains each. `coredumpd --version` prints the version.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one role and return its exit code. An expected error is printed without a traceback."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(words)
    except errors.CoredumpdError as error:
        print(f"coredumpd: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads our output any more
        return 141  # 128 + SIGPIPE, as the shell reports it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT


def _dispatch(words: list[str]) -> int:
    match words[:1]:
        case ["handle"]:
            from coredumpd.handler import main as handler

            return handler.main(words[1:])
        case ["agent"]:
            from coredumpd.agent import main as agent

            return agent.main(words[1:])
        case ["server"]:
            from coredumpd.server import main as server

            return server.main(words[1:])
        case ["store"]:
            from coredumpd.storetool import main as storetool

            return storetool.main(words[1:])
        case ["download"]:
            from coredumpd.download import main as download

            return download.main(words[1:])
        case ["demo"]:
            from coredumpd.demo import main as demo

            return demo.main(words[1:])
        case ["--version" | "version"]:
            print(f"coredumpd {__version__}")
            return 0
        case ["--help" | "-h" | "help"]:
            print(USAGE, end="")
            return 0
        case []:
            raise errors.UsageError("a role is missing\n\n" + USAGE.rstrip())
        case _:
            raise errors.UsageError(f"unknown role {words[0]!r}\n\n" + USAGE.rstrip())
