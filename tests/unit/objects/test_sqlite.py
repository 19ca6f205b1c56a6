from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.objects import engines, sqlite


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    sqlite.SqliteEngine(str(tmp_path / "objects.db")).close()
    assert (tmp_path / "objects.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_bytes(b"not a database" * 100)
    with pytest.raises(errors.StorageError, match=r"objects\.db"):
        sqlite.SqliteEngine(str(tmp_path / "objects.db"))


def test_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.CoredumpdError, match="missing"):
        sqlite.SqliteEngine(str(tmp_path / "missing" / "objects.db"))


def test_a_schema_of_another_release_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "objects.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(errors.StorageError, match="another release"):
        engines.open_engine(f"sqlite:///{tmp_path}/objects.db")
