"""Fixtures: an empty store in a directory. A conftest.py imports those that its tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from coredumpd.store.directory import engine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of the store."""
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path) -> engine.DirectoryStore:
    return engine.DirectoryStore(str(root))
