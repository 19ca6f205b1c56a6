"""docs/security.md: each attack that once succeeded has its row, and each row its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ATTACKS = range(1, 24)
# Rows that may still be without a test, as `open`: none since every attack has its defence.
OPEN: set[int] = set()
# Rows about how the executable is made, not about what it does.
OF_THE_BUILD = {21}
ON_THE_EXECUTABLE = ("tests/integration/", "tests/e2e/")

_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[int, str, str, str]]:
    """Number, attack, defence and tests of each row, in the order of the page."""
    page = (ROOT / "docs/security.md").read_text()
    return [(int(number), *cells) for number, *cells in _ROW.findall(page)]  # type: ignore[misc]


@cache
def functions(path: str) -> set[str]:
    """The names of the functions in a file; empty when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def references(cell: str) -> list[tuple[str, str]]:
    return _TEST.findall(cell)


def test_every_attack_has_one_row_in_order() -> None:
    numbers = [number for number, *_ in rows()]
    assert numbers == list(ATTACKS), "after a merge, keep of a row's versions the one with tests"


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row[0]))
def test_a_row_names_tests_that_are_there_and_one_of_the_executable(
    row: tuple[int, str, str, str],
) -> None:
    number, _, defence, cell = row
    if number in OPEN and cell == defence == "open":
        return
    tests = references(cell)
    assert tests, "the last cell lists tests as `tests/.../test_file.py::test_name`"
    assert [test for test in tests if test[1] not in functions(test[0])] == []
    assert re.sub(r"[\s,;]|<br>", "", _TEST.sub("", cell)) == "", "the cell holds tests only"
    on_the_executable = [path for path, _ in tests if path.startswith(ON_THE_EXECUTABLE)]
    assert on_the_executable or number in OF_THE_BUILD
