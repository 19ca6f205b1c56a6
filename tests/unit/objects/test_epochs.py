from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.objects import epochs, sqlite


class Clock:
    """`time` for `epochs`, which stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * 10**9
        self.moves = False

    def time_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds < 0.01
        if self.moves:
            self.now_ns += int(seconds * 1e9) + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(epochs, "time", made)
    return made


def lost(directory: Path) -> sqlite.SqliteEngine:
    """A new engine where all files of the last one are gone."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return sqlite.SqliteEngine(str(directory / "objects.db"))


def writes(engine: sqlite.SqliteEngine, count: int) -> list[int]:
    return [engine.create(f"/a/{number}", b"1") for number in range(count)]


def test_a_new_database_begins_above_all_that_earlier_ones_gave(tmp_path: Path) -> None:
    given: list[int] = []
    for _ in range(5):
        engine = lost(tmp_path / "db")
        for revision in given:
            with pytest.raises(errors.CoredumpdError):
                engine.check(revision)
        given.append(engine.revision())
        given += writes(engine, 20)
        engine.close()
    assert len(set(given)) == len(given)


def test_databases_made_in_one_instant_share_no_revision(tmp_path: Path, clock: Clock) -> None:
    given: list[int] = []
    for number in range(5):
        engine = lost(tmp_path / f"db{number}")
        given.append(engine.revision())
        given += writes(engine, 20)
        engine.close()
    assert len(set(given)) == len(given)
    assert clock.now_ns <= min(given)


def test_after_a_step_back_of_the_clock_lost_revisions_are_refused(
    tmp_path: Path, clock: Clock
) -> None:
    engine = lost(tmp_path / "db")
    given = writes(engine, 20)
    engine.close()
    clock.now_ns -= 3600 * 10**9
    engine = lost(tmp_path / "db")
    assert not set(given) & set(writes(engine, 20))
    for revision in given:
        with pytest.raises(errors.TooLargeResourceVersion):
            engine.check(revision)
    engine.close()


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("step_s", [3600, 0, -3600])
def test_a_database_restored_from_a_backup_expires_what_came_after_the_backup(
    tmp_path: Path, clock: Clock, step_s: int, moves: bool
) -> None:
    clock.moves = moves
    path = tmp_path / "objects.db"
    engine = sqlite.SqliteEngine(str(path))
    kept = writes(engine, 3)
    engine.close()
    shutil.copy(path, tmp_path / "backup")
    clock.now_ns += 10**9
    engine = sqlite.SqliteEngine(str(path))
    given = [engine.create(f"/b/{number}", b"1") for number in range(100)]
    engine.close()
    shutil.copy(tmp_path / "backup", path)
    clock.now_ns += step_s * 10**9
    engine = sqlite.SqliteEngine(str(path))
    assert engine.check(kept[-1]) == kept[-1]
    again = [engine.create(f"/b/{number}", b"1") for number in range(100)]
    assert not set(given) & set(again)
    kinds = set()
    for revision in given:
        with pytest.raises(errors.CoredumpdError) as caught:
            engine.check(revision)
        kinds.add(type(caught.value))
    if step_s > 0:
        assert kinds == {errors.Expired}
    assert kinds <= {errors.Expired, errors.TooLargeResourceVersion}
    assert engine.check(kept[-1]) == again[-1]
    assert [event.revision for event in engine.watch("/b/", kept[-1]).next(0)] == again
    engine.close()


def test_a_restart_alone_expires_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "objects.db")
    engine = sqlite.SqliteEngine(path)
    revisions = writes(engine, 3)
    engine.close()
    engine = sqlite.SqliteEngine(path)
    later = engine.create("/a/later", b"1")
    for revision in revisions:
        assert engine.check(revision) == later
    engine.compact(later)
    assert engine.check(later) == later
    engine.close()


def test_writes_and_restarts_stay_behind_the_clock(tmp_path: Path) -> None:
    for number in range(5):
        engine = sqlite.SqliteEngine(str(tmp_path / "objects.db"))
        revisions = [engine.create(f"/{number}/{key}", b"1") for key in range(50)]
        engine.close()
        assert revisions[-1] < epochs.time.time_ns() + 2 * 10**6


def test_a_start_fits_into_what_kubernetes_clients_compare() -> None:
    assert 0 < epochs.start() < epochs.start(2**62) < 2**63
