"""What pip may install: pinned, hashed, from wherever the machine's own pip takes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKED = {
    "requirements-build.lock": ("requirements.txt", "requirements-build.txt"),
    "requirements-dev.lock": ("requirements.txt", "requirements-build.txt", "requirements-dev.txt"),
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", re.MULTILINE)
_INDEX = re.compile(rb"--(extra-)?index-url|--trusted-host|pythonhosted\.org|pypi\.org/simple")


def pins(name: str) -> dict[str, str]:
    """The versions in a file, by normalized name (PEP 503)."""
    text = (ROOT / name).read_text()
    return {re.sub(r"[-_.]+", "-", found).lower(): version for found, version in _PIN.findall(text)}


@pytest.mark.parametrize("lock", LOCKED)
def test_a_lock_has_every_pin_and_a_hash_of_every_file(lock: str) -> None:
    locked = pins(lock)
    for name in LOCKED[lock]:
        for distribution, version in pins(name).items():
            assert locked.get(distribution) == version, f"{distribution} of {name}: make lock"
    lines = [line for line in (ROOT / lock).read_text().split("\n") if not line.startswith("#")]
    for block in re.split(r"\n(?=\S)", "\n".join(lines).strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.split("\n")[0]


def test_what_is_shipped_is_what_the_tests_ran_with() -> None:
    build, dev = pins("requirements-build.lock"), pins("requirements-dev.lock")
    assert {name: dev.get(name) for name in build} == build


def test_everything_that_is_shipped_is_pinned_by_hand() -> None:
    first = {re.sub(r"[-_.]+", "-", name).lower() for name in pins("requirements.txt")}
    assert first <= set(pins("requirements-build.lock"))


def test_no_file_names_a_package_index() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.split(b"\0")
    own = str(Path(__file__).relative_to(ROOT)).encode()
    for name in filter(None, files):
        path = ROOT / name.decode()
        if name != own and path.is_file() and not path.is_symlink():
            assert not _INDEX.search(path.read_bytes()), name
