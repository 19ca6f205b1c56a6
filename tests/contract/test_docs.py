"""The documents tell the truth: generated pages are current, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TESTED_IN = re.compile(r"\n\nTested in: (tests/\S+)$")


def tracked(pattern: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


def test_generated_pages_are_current() -> None:
    path = ROOT / "tests/contract/generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [str(path) for path, text in generate.documents() if path.read_text() != text]
    assert not stale, "repair: make update"


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    files = [path for path in tracked("tests/*.py") if path.name.startswith("test_")]
    names = {path.stem for path in files}
    for path in files:
        names |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    named = set(re.findall(r"\btest_\w+", page.read_text()))
    assert named - names == set()


def test_every_module_says_what_it_is_for() -> None:
    for module in tracked("coredumpd/*.py"):
        assert module.read_text().lstrip().startswith('"""'), module


def test_every_unit_test_file_stands_beside_a_module_of_its_name() -> None:
    for test in tracked("tests/unit/*test_*.py"):
        relative = test.relative_to(ROOT / "tests/unit")
        module = ROOT / "coredumpd" / relative.parent / relative.name.removeprefix("test_")
        assert module.exists(), f"{relative} tests no module of its name"


def test_every_module_is_tested_where_its_name_or_its_docstring_says() -> None:
    untested = set()
    for module in tracked("coredumpd/*.py"):
        path = module.relative_to(ROOT / "coredumpd")
        if path.name in ("__init__.py", "__main__.py"):
            continue
        if not (ROOT / "tests/unit" / path.parent / f"test_{path.name}").exists():
            place = _TESTED_IN.search(ast.get_docstring(ast.parse(module.read_text())) or "")
            if place is None:
                untested.add(str(path))
            else:
                assert (ROOT / place[1]).exists(), f"{path} is not tested in {place[1]}"
    assert untested == set()


@pytest.mark.parametrize(
    "module", tracked("coredumpd/*.py"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_docstring_begins_with_a_question_word(module: Path) -> None:
    """A docstring is a sentence with a subject, or a noun; "What is stored." is neither."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, kinds))
    docstrings = (ast.get_docstring(node) or "" for node in nodes)
    wrong = [text for text in docstrings if re.match(r"(What|Who|Whose|Whom)\b", text)]
    assert wrong == []


def test_importing_the_package_does_nothing() -> None:
    script = "import coredumpd, sys; print(*sorted(m for m in sys.modules if 'coredumpd' in m))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["coredumpd"]
