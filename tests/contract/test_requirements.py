"""Every library the executable carries has an owner, and the documents name the same one.

The owner contracts of setup.cfg (`owner-…`) say which modules import a library and make
`lint-imports` refuse all others. Here they are compared with requirements.txt and with the imports.
"""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWNER = "importlinter:contract:owner-"
VOCABULARY = (
    "errors", "units", "log", "commandline", "settings", "durable", "cache", "aiokit", "parallel",
    "terminal", "formats", "ownership",
)  # fmt: skip


def contracts() -> dict[str, set[str]]:
    """The owners of each library, by its import name; owners as requirements.txt writes them."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    owners: dict[str, set[str]] = {}
    for section in filter(lambda name: name.startswith(OWNER), parser.sections()):
        for library in parser[section]["forbidden_modules"].split():
            owners[library] = set()
        for line in parser[section]["ignore_imports"].strip().splitlines():
            owner, library = line.split(" -> ")
            path = owner.removeprefix("coredumpd.").replace(".**", "/").replace(".", "/")
            owners[library].add(path)
    return owners


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def distribution_of(library: str) -> str:
    return normal(importlib.metadata.packages_distributions()[library][0])


def requirements() -> tuple[dict[str, set[str]], set[str]]:
    """Owners named in the comments of the first block, and the distributions of the second."""
    first, _, second = (ROOT / "requirements.txt").read_text().partition("# What those need.")
    owners = {}
    for line in first.splitlines():
        if not line.startswith("#"):
            pin, _, comment = line.partition("#")
            owners[normal(pin.partition("==")[0])] = set(
                comment.partition(": ")[0].strip().split(", ")
            )
    return owners, {normal(line.partition("==")[0]) for line in second.split()}


def imports() -> dict[str, set[str]]:
    """The libraries that each module of ours imports, by its path below coredumpd/."""
    libraries = {}
    for path in sorted((ROOT / "coredumpd").rglob("*.py")):
        roots = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
        module = str(path.relative_to(ROOT / "coredumpd").with_suffix(""))
        libraries[module] = roots - sys.stdlib_module_names - {"coredumpd"}
    return libraries


def test_every_library_that_we_pin_for_ourselves_has_an_owner() -> None:
    direct, _ = requirements()
    owned = {distribution_of(library) for library in contracts()}
    assert set(direct) - owned == set(), "give it an owner contract in setup.cfg"


def test_every_owner_owns_a_library_that_is_pinned() -> None:
    direct, indirect = requirements()
    unknown = {
        library for library in contracts() if distribution_of(library) not in {*direct, *indirect}
    }
    assert unknown == set()


def test_the_comment_beside_a_pin_names_the_owners_of_the_contract() -> None:
    direct, _ = requirements()
    for library, owners in contracts().items():
        if distribution_of(library) in direct:
            assert direct[distribution_of(library)] == owners, library


def test_every_library_that_is_imported_has_an_owner() -> None:
    imported = set().union(*imports().values())
    assert imported - set(contracts()) == set()


def test_the_vocabulary_and_the_formats_need_the_standard_library_only() -> None:
    """Three own a library: the configuration's reader, maps that expire, tables and progress."""
    libraries = {
        module: libraries
        for module, libraries in imports().items()
        if module.partition("/")[0] in VOCABULARY and libraries
    }
    assert libraries == {"settings/file": {"yaml"}, "cache": {"cachetools"}, "terminal": {"rich"}}
