"""`coredumpd config`: check a configuration before it is used; print its JSON Schema.

Tested in: tests/integration/test_config.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from coredumpd import commandline, errors
from coredumpd.settings import file, schema, sections


def parser() -> argparse.ArgumentParser:
    """The role's arguments."""
    parser = commandline.Parser(
        prog="coredumpd config", description="Check a configuration, or describe all settings."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    help = "report every mistake, each with its line; exit code 78 if there is one"
    check = commands.add_parser("check", help=help, description=f"{help.capitalize()}.")
    check.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a configuration, or a ConfigMap whose config.yaml is one; - for standard input",
    )
    help = "print the JSON Schema of the configuration"
    commands.add_parser("schema", help=help, description=f"{help.capitalize()}.")
    return parser


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    arguments = parser().parse_args(words)
    if arguments.command == "schema":
        print(json.dumps(schema.document(), indent=2))
        return 0
    code = 0
    for path in arguments.files:
        try:
            settings = _load(path)
        except errors.SettingsError as error:
            print(f"coredumpd: {error}", file=sys.stderr)
            code = error.exit_code
        else:
            print(f"{path}: ok, {_count(settings)} settings differ from the default")
    return code


def _load(path: str) -> sections.Settings:
    if path != "-":
        return file.load(path)
    return file.parse(sys.stdin.buffer.read(file.CONFIG_BYTES_MAX + 1), "standard input")


def _count(settings: sections.Settings) -> int:
    """How many settings are not as they are without a configuration."""
    default = sections.Settings()
    return sum(
        getattr(getattr(settings, name), field.name) != getattr(getattr(default, name), field.name)
        for name, kind in sections.SECTIONS.items()
        for field in dataclasses.fields(kind)
    )
