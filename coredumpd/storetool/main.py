"""`coredumpd store`: the command line."""

from __future__ import annotations

import argparse
import logging

from coredumpd import commandline, errors, units
from coredumpd.settings import file as settings_file
from coredumpd.store import engines as stores
from coredumpd.store import interface

_STORE = (
    "file:///DIRECTORY, s3://BUCKET/PREFIX, gs://… or az://…; default: the server's, by --config"
)


def parser() -> argparse.ArgumentParser:
    """The role's arguments."""
    made = commandline.Parser(
        prog="coredumpd store",
        description="Look after a store of dumps.",
        epilog="Exit code 1: something was found, or not everything was done. Credentials of a "
        "bucket come from the environment; how to reach it, from the section bucket of --config.",
    )
    words = made.add_subparsers(dest="word", metavar="COMMAND", required=True)
    check = _command(words, "check", "verify every dump, find what is half-written or lost")
    _one_store(check)
    _depth(check)
    repair = _command(words, "repair", "finish or remove what `check` finds; see --delete")
    _one_store(repair)
    _depth(repair)
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
    usage = _command(words, "usage", "how much is stored, and whose it is")
    _one_store(usage)
    usage.add_argument(
        "--by",
        choices=("namespace", "pod", "container"),
        default="namespace",
        help="one line for each (default: %(default)s)",
    )
    migrate = _command(words, "migrate", "copy every dump to another store, verified; resumable")
    migrate.add_argument("source", metavar="FROM", help="a store's URL")
    migrate.add_argument("target", metavar="TO", help="a store's URL")
    for side in ("from", "to"):
        help = f"how to reach {side.upper()}, if it is a bucket: section bucket of this file"
        migrate.add_argument(f"--{side}-config", metavar="FILE", help=help)
    _common(migrate)
    _parallel(migrate)
    return made


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    chosen = parser().parse_args(words)
    logging.basicConfig(format="coredumpd: %(message)s", level=logging.WARNING)
    match chosen.word:
        case "check" | "repair":
            from coredumpd.storetool import check as check

            _prefix(chosen)
            if chosen.word == "check":
                chosen.delete = chosen.damaged = False
            elif chosen.damaged and not chosen.delete:
                raise errors.UsageError("--damaged is for --delete")
            return check.run(_open(chosen), chosen, repairing=chosen.word == "repair")
        case "usage":
            from coredumpd.storetool import usage as usage

            _prefix(chosen)
            return usage.run(_open(chosen), chosen)
        case _:
            from coredumpd.storetool import migrate as migrate

            source, target = _sides(chosen)
            return migrate.run(source, target, chosen)


def _command(
    words: argparse._SubParsersAction[commandline.Parser], name: str, help: str
) -> commandline.Parser:
    return words.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--namespace", metavar="NAME", help="only this namespace")
    command.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="default: %(default)s"
    )


def _one_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("store", metavar="STORE", nargs="?", help=_STORE)
    command.add_argument("--config", metavar="FILE", help="the configuration of the server")
    _common(command)


def _parallel(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--parallel", type=_count, default=4, metavar="N", help="dumps at once (default: 4)"
    )


def _depth(command: argparse.ArgumentParser) -> None:
    how = command.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="compare sizes, do not read the cores")
    how.add_argument(
        "--decompress", action="store_true", help="also verify the CRC-32 of what the kernel sent"
    )
    command.add_argument(
        "--grace",
        type=_duration,
        default=units.parse_duration("24h"),
        metavar="DURATION",
        help="what is younger may still be written (default: 24h)",
    )
    _parallel(command)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 to 64")
    return int(text)


def _duration(text: str) -> float:
    try:
        return units.parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _prefix(chosen: argparse.Namespace) -> None:
    if chosen.store is None and chosen.config is None:
        raise errors.UsageError("name a STORE, or --config FILE of the server that has one")


def _open(chosen: argparse.Namespace) -> interface.Store:
    settings = settings_file.load(chosen.config)
    return stores.open_store(chosen.store or settings.server.store, settings.bucket)


def _sides(chosen: argparse.Namespace) -> tuple[interface.Store, interface.Store]:
    if chosen.source.rstrip("/") == chosen.target.rstrip("/"):
        raise errors.UsageError("FROM and TO are the same store")
    opened = []
    for url, config in ((chosen.source, chosen.from_config), (chosen.target, chosen.to_config)):
        bucket = None if config is None else settings_file.load(config).bucket
        opened.append(stores.open_store(url, bucket))
    return opened[0], opened[1]
