"""The documents tell the truth: generated pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
    there = {path.stem for path in files}
    for path in files:
        there |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    named = set(re.findall(r"\btest_\w+", page.read_text()))
    assert named - there == set()


def test_every_module_says_what_it_is_for() -> None:
    for module in tracked("coredumpd/*.py"):
        assert module.read_text().lstrip().startswith('"""'), module


def test_every_unit_test_file_stands_beside_a_module_of_its_name() -> None:
    for test in tracked("tests/unit/*test_*.py"):
        relative = test.relative_to(ROOT / "tests/unit")
        module = ROOT / "coredumpd" / relative.parent / relative.name.removeprefix("test_")
        assert module.exists(), f"{relative} tests no module of its name"


def test_importing_the_package_does_nothing() -> None:
    script = "import coredumpd, sys; print(*sorted(m for m in sys.modules if 'coredumpd' in m))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["coredumpd"]
