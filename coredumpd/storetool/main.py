"""`coredumpd store`: the command line."""

from __future__ import annotations

import argparse

from coredumpd import commandline, errors, log, units
from coredumpd.settings import file as settings_file
from coredumpd.store import engines, interface

_STORE_HELP = (
    "file:///DIRECTORY, s3://BUCKET/PREFIX, gs://… or az://…; default: the server's, by --config"
)


def parser() -> argparse.ArgumentParser:
    """The role's arguments."""
    parser = commandline.Parser(
        prog="coredumpd store",
        description="Look after a store of dumps.",
        epilog="Exit code 1: something was found, or not everything was done. Credentials of a "
        "bucket come from the environment; how to reach it, from the section bucket of --config.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    check = _command(commands, "check", "verify every dump, find what is half-written or lost")
    _add_store(check)
    _add_depth(check)
    repair = _command(commands, "repair", "finish or remove what `check` finds; see --delete")
    _add_store(repair)
    _add_depth(repair)
    repair.add_argument(
        "--delete",
        action="store_true",
        help="remove leftovers: what was never whole, or was being deleted. Without it nothing is "
        "deleted, and what would be is listed",
    )
    repair.add_argument(
        "--damaged",
        action="store_true",
        help="with --delete: remove dumps that do not verify, too, though a debugger may still "
        "get something out of them",
    )
    usage = _command(commands, "usage", "how much is stored, and whose it is")
    _add_store(usage)
    usage.add_argument(
        "--by",
        choices=("namespace", "pod", "container"),
        default="namespace",
        help="one line for each (default: %(default)s)",
    )
    migrate = _command(commands, "migrate", "copy every dump to another store, verified; resumable")
    migrate.add_argument("source", metavar="FROM", help="a store's URL")
    migrate.add_argument("target", metavar="TO", help="a store's URL")
    for side in ("from", "to"):
        help = f"how to reach {side.upper()}, if it is a bucket: section bucket of this file"
        migrate.add_argument(f"--{side}-config", metavar="FILE", help=help)
    _add_common(migrate)
    _add_parallel(migrate)
    return parser


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    arguments = parser().parse_args(words)
    log.configure("store", "plain")
    match arguments.command:
        case "check" | "repair":
            from coredumpd.storetool import check

            _require_store(arguments)
            if arguments.command == "check":
                arguments.delete = arguments.damaged = False
            elif arguments.damaged and not arguments.delete:
                raise errors.UsageError("--damaged is for --delete")
            return check.run(_open(arguments), arguments, repairing=arguments.command == "repair")
        case "usage":
            from coredumpd.storetool import usage

            _require_store(arguments)
            return usage.run(_open(arguments), arguments)
        case _:
            from coredumpd.storetool import migrate

            source, target = _sides(arguments)
            return migrate.run(source, target, arguments)


def _command(
    commands: argparse._SubParsersAction[commandline.Parser], name: str, help: str
) -> commandline.Parser:
    return commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--namespace", metavar="NAME", help="only this namespace")
    command.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="default: %(default)s"
    )


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("store", metavar="STORE", nargs="?", help=_STORE_HELP)
    command.add_argument("--config", metavar="FILE", help="the configuration of the server")
    _add_common(command)


def _add_parallel(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--parallel", type=_count, default=4, metavar="N", help="dumps at once (default: 4)"
    )


def _add_depth(command: argparse.ArgumentParser) -> None:
    depth = command.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="compare sizes, do not read the cores")
    depth.add_argument(
        "--decompress", action="store_true", help="also verify the CRC-32 of what the kernel sent"
    )
    command.add_argument(
        "--grace",
        type=_duration,
        default=units.parse_duration("24h"),
        metavar="DURATION",
        help="what is younger may still be written (default: 24h)",
    )
    _add_parallel(command)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 to 64")
    return int(text)


def _duration(text: str) -> float:
    try:
        return units.parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _require_store(arguments: argparse.Namespace) -> None:
    if arguments.store is None and arguments.config is None:
        raise errors.UsageError("name a STORE, or --config FILE of the server that has one")


def _open(arguments: argparse.Namespace) -> interface.Store:
    settings = settings_file.load(arguments.config)
    return engines.open_store(arguments.store or settings.server.store, settings.bucket)


def _sides(arguments: argparse.Namespace) -> tuple[interface.Store, interface.Store]:
    if arguments.source.rstrip("/") == arguments.target.rstrip("/"):
        raise errors.UsageError("FROM and TO are the same store")
    sides = []
    for url, config in (
        (arguments.source, arguments.from_config),
        (arguments.target, arguments.to_config),
    ):
        bucket = None if config is None else settings_file.load(config).bucket
        sides.append(engines.open_store(url, bucket))
    return sides[0], sides[1]
