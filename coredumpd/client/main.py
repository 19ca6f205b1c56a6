"""`coredumpd list|info|watch|rm`, also as `kubectl coredump …`: crashes, by the user's own rights.

Tested in: tests/integration/test_client.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from coredumpd import commandline, errors, terminal
from coredumpd.client import coredumps, info, output
from coredumpd.client import target as targets
from coredumpd.kube import client

VERBS = ("list", "info", "watch", "rm")
_Run = Callable[[client.Client, argparse.Namespace, coredumps.Selection], Awaitable[int]]


def main(words: list[str], program: str = "coredumpd") -> int:
    """Run the verb that is the first word; returns the exit code. `program` is for messages."""
    arguments = parser(words[0], program).parse_args(words[1:])
    arguments.program = program
    for path in client.kubeconfigs(arguments.kubeconfig):
        terminal.warn_exposed(path, 0o022, "it names the server, and programs to run")
    namespace = None
    if not arguments.all_namespaces:
        namespace = arguments.namespace or client.default_namespace(
            arguments.kubeconfig, arguments.context
        )
    selection = coredumps.Selection(
        namespace,
        arguments.selector,
        [targets.parse(word) for word in arguments.targets],
    )
    return asyncio.run(_run(_RUN[words[0]], arguments, selection))


async def _run(run: _Run, arguments: argparse.Namespace, selection: coredumps.Selection) -> int:
    async with await client.connect(arguments.kubeconfig, arguments.context) as kube:
        return await run(kube, arguments, selection)


async def _list(
    kube: client.Client, arguments: argparse.Namespace, selection: coredumps.Selection
) -> int:
    table = await coredumps.table(kube, selection)
    if arguments.output in output.OBJECTS:
        output.objects(arguments.output, [row.object for row in table.rows])
    elif table.rows:
        output.table(
            table,
            wide=arguments.output == output.WIDE,
            namespaces=selection.namespace is None,
            headers=not arguments.no_headers,
        )
    else:
        print(f"no dumps of {selection}", file=sys.stderr)
    return 0


async def _info(
    kube: client.Client, arguments: argparse.Namespace, selection: coredumps.Selection
) -> int:
    table = await coredumps.table(kube, selection)
    if not table.rows:
        raise errors.NotFound(f"no dumps of {selection}")
    newest = table.rows[-1].object
    if arguments.output:
        output.objects(arguments.output, [newest], one=True)
        return 0
    backtrace = await coredumps.backtrace(kube, newest)
    others = len(table.rows) - 1
    for line in info.page(newest, backtrace, arguments.program, others).splitlines():
        print(terminal.escape(line))
    return 0


async def _watch(
    kube: client.Client, arguments: argparse.Namespace, selection: coredumps.Selection
) -> int:
    async for dump in coredumps.new(kube, selection):
        if dump is None:
            print(f"waiting for dumps of {selection}; Ctrl-C ends it", file=sys.stderr)
        elif arguments.output:
            output.objects(arguments.output, [dump], one=True)
        else:
            print(terminal.escape(info.line(dump)))
        sys.stdout.flush()
    return 0  # pragma: no cover (it never ends)


async def _rm(
    kube: client.Client, arguments: argparse.Namespace, selection: coredumps.Selection
) -> int:
    table = await coredumps.table(kube, selection)
    for target in selection.targets:
        dumps = [row.object for row in table.rows if target.selects(row.object)]
        if not dumps:
            raise errors.NotFound(f"no dumps of {target} in namespace {selection.namespace}")
        if len(dumps) > 1 and not arguments.all:
            raise errors.UsageError(
                f"{target} has {len(dumps)} dumps: name the one to delete, or add --all"
            )
    for row in table.rows:
        await coredumps.delete(kube, row.object)
        print(f"{output.name_of(row.object)} deleted")
    return 0


_RUN: dict[str, _Run] = {"list": _list, "info": _info, "watch": _watch, "rm": _rm}
_HELP: dict[str, tuple[str, str | int, Sequence[str]]] = {
    "list": ("List the core dumps that are stored, oldest first.", "*", output.LISTS),
    "info": ("Show one crash: the newest of what you name.", 1, output.OBJECTS),
    "watch": ("Print each new dump as it is stored, until Ctrl-C.", "*", output.OBJECTS),
    "rm": ("Delete dumps, with their bytes in the store.", "+", ()),
}


def parser(verb: str, program: str = "coredumpd") -> commandline.Parser:
    """The verb's command line."""
    description, count, forms = _HELP[verb]
    parser = commandline.Parser(prog=f"{program} {verb}", description=description)
    parser.set_defaults(all_namespaces=False, selector="")
    parser.add_argument("targets", metavar="TARGET", nargs=count, help=targets.SYNTAX)
    parser.add_argument(
        "-n", "--namespace", metavar="NAME", help="default: the namespace of the context"
    )
    if verb in ("list", "watch"):
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all of them")
        parser.add_argument(
            "-l", "--selector", metavar="LABELS", default="", help="as for kubectl get"
        )
    if forms:
        parser.add_argument("-o", "--output", choices=forms, help="default: for people")
    if verb == "list":
        parser.add_argument("--no-headers", action="store_true", help="only the rows")
    if verb == "rm":
        parser.add_argument("--all", action="store_true", help="of a target with several, all")
    parser.add_kubeconfig()
    return parser
