"""The command line: its first word selects a role, and an exception becomes an exit code.

Each role is imported in its own branch, so that no role loads another one's modules.
"""

from __future__ import annotations

import os
import sys

from coredumpd import __version__, errors

_VERBS = ("list", "info", "watch", "download", "rm")
_CLIENT = """\
  list        list the dumps of a pod, a workload, a namespace
  info        show one crash: who crashed, when, where, and how to go on
  watch       print each new dump as it is stored
  download    fetch the dumps of a pod, and open those that are encrypted
  rm          delete dumps
"""
USAGE = f"""\
usage: coredumpd ROLE [ARGUMENTS]

Core dumps of Kubernetes pods: captured by the kernel, downloaded with kubectl.

roles:
  handle      capture one crash (the kernel runs this through core_pattern)
  agent       install the handler, own core_pattern, ship dumps to the store
  server      serve coredump.fujitsu.com/v1alpha1, the aggregated API
  store       check, repair, measure and copy stores of dumps
  config      check a configuration before it is used
{_CLIENT}  demo        the whole way on this machine, without Kubernetes

`coredumpd ROLE --help` explains each. `coredumpd --version` prints the version.
"""
# The file names by which kubectl finds `kubectl coredump` and its completion.
PLUGIN, COMPLETION = "kubectl-coredump", "kubectl_complete-coredump"
PLUGIN_USAGE = f"""\
usage: kubectl coredump COMMAND [ARGUMENTS]

The core dumps of your pods.

commands:
{_CLIENT}
`kubectl coredump COMMAND --help` explains each.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one role and return its exit code. An expected error is printed without a traceback."""
    words = sys.argv[1:] if argv is None else argv
    try:
        as_named = {PLUGIN: _run_plugin, COMPLETION: _complete}
        return as_named.get(os.path.basename(sys.argv[0]), _run_role)(words)
    except errors.CoredumpdError as error:
        print(f"coredumpd: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads our output any more
        return 141  # 128 + SIGPIPE, as the shell reports it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT


def _run_role(words: list[str]) -> int:
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
        case [verb] if verb in _VERBS:
            return _run_verb(words, "coredumpd")
        case ["config" | "demo"]:
            return _run_tool(words)
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


def _run_tool(words: list[str]) -> int:
    """Run a command that asks no cluster."""
    if words[0] == "config":
        from coredumpd.settings import command as config

        return config.main(words[1:])
    from coredumpd.demo import main as demo

    return demo.main(words[1:])


def _run_verb(words: list[str], program: str) -> int:
    """Run a command of those who have a kubeconfig, as `program` COMMAND."""
    if words[0] == "download":
        from coredumpd.download import main as download

        return download.main(words[1:], program)
    from coredumpd.client import main as client

    return client.main(words, program)


def _run_plugin(words: list[str]) -> int:
    match words[:1]:
        case [verb] if verb in _VERBS:
            return _run_verb(words, "kubectl coredump")
        case ["--help" | "-h" | "help"]:
            print(PLUGIN_USAGE, end="")
            return 0
        case []:
            raise errors.UsageError("a command is missing\n\n" + PLUGIN_USAGE.rstrip())
        case _:
            raise errors.UsageError(f"unknown command {words[0]!r}\n\n" + PLUGIN_USAGE.rstrip())


def _complete(words: list[str]) -> int:
    from coredumpd.client import completion
    from coredumpd.client import main as client
    from coredumpd.download import main as download

    parsers = {verb: client.parser(verb) for verb in client.VERBS}
    return completion.main(words, {**parsers, "download": download.parser()})
