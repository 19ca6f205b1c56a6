"""Completion of `kubectl coredump` by the shell: verbs, flags, pods with dumps, and dumps.

kubectl 1.26 and newer runs `kubectl_complete-coredump` with the words so far and prints the lines
that it answers; the last, `:4`, is cobra's ShellCompDirectiveNoFileComp
(https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/).

Tested in: tests/integration/test_client.py
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence

from coredumpd import errors
from coredumpd.client import coredumps
from coredumpd.kube import client

TIMEOUT_S = 3.0
_END = ":4"


def main(words: Sequence[str], parsers: Mapping[str, argparse.ArgumentParser]) -> int:
    """Print what may follow `words`, of which the last is to be completed."""
    *before, last = words or [""]
    for candidate in _candidates(before, last, parsers):
        if candidate.startswith(last):
            print(candidate)
    print(_END)
    return 0


def _candidates(
    before: Sequence[str], last: str, parsers: Mapping[str, argparse.ArgumentParser]
) -> Sequence[str]:
    if not before:
        return sorted(parsers)
    parser = parsers.get(before[0])
    if parser is None:
        return ()
    if last.startswith("-"):
        flags = (flag for action in parser._actions for flag in action.option_strings)
        return sorted(flag for flag in flags if flag.startswith("--"))
    try:
        return asyncio.run(asyncio.wait_for(_names(before), TIMEOUT_S))
    except (errors.CoredumpdError, TimeoutError):
        return ()


async def _names(before: Sequence[str]) -> Sequence[str]:
    """The pods that have dumps, and the dumps, where the words say to look."""
    connection = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    connection.add_argument("-n", "--namespace")
    connection.add_argument("--kubeconfig")
    connection.add_argument("--context")
    arguments, _ = connection.parse_known_args(before)
    namespace = arguments.namespace or client.default_namespace(
        arguments.kubeconfig, arguments.context
    )
    async with await client.connect(arguments.kubeconfig, arguments.context) as kube:
        table = await coredumps.table(kube, coredumps.Selection(namespace))
    dumps = [row.object for row in table.rows]
    pods = {str((dump.get("status") or {}).get("podName") or "") for dump in dumps} - {""}
    return [*sorted(pods), *sorted(str(dump["metadata"]["name"]) for dump in dumps)]
