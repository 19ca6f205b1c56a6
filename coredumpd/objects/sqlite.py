"""Objects in one SQLite file: the embedded engine, for one replica.

One append-only table is at once the objects, their history and the watch log: the row number is the
revision. Compaction deletes rows that a later row replaced. WAL with synchronous=FULL: a write that
was answered survives a power cut (https://www.sqlite.org/pragma.html#pragma_synchronous).

A new database, and the first write after each opening, take their revision from the clock
(`epochs`). The revisions in between were never given here, but perhaps by the database of which
this one is a backup: table `gaps` has them, and who asks for one gets Expired.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence

from coredumpd import errors
from coredumpd.objects import epochs, interface

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('ADDED', 'MODIFIED', 'DELETED')),
    value BLOB NOT NULL  -- of a DELETED key, its last
);
CREATE INDEX IF NOT EXISTS log_by_key ON log (key, revision);
CREATE TABLE IF NOT EXISTS compacted (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER);
INSERT OR IGNORE INTO compacted VALUES (1, 0);
CREATE TABLE IF NOT EXISTS gaps (  -- revisions above `last` and below `next`
    last INTEGER NOT NULL,
    next INTEGER PRIMARY KEY
);
"""
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 5.0
_POLL_S = 1.0  # another process may write too (a rolling update), and does not wake us
_WAL_BYTES_MAX = 16 * 1024 * 1024  # of the file's length after a checkpoint
_EVENTS_MAX = 500
_EVENT_BYTES_MAX = 4 * 1024 * 1024  # of one answer to a watch, unless one event has more
# `max(revision)` makes SQLite take the other columns from the row that has it
# (https://www.sqlite.org/lang_select.html#bareagg). Sorted within, where the index has the order:
# outside, SQLite would read every value before it gives the first.
_LIVING = """
    FROM (SELECT key, value, kind, max(revision) AS revision FROM log
          WHERE key > :after AND key >= :first AND key < :end AND revision <= :revision
          GROUP BY key ORDER BY key)
    WHERE kind != 'DELETED'
"""


class SqliteEngine:
    """See `interface.Engine`. One connection behind one lock: an operation takes under 1 ms."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._written = threading.Condition()
        with _translated(path):
            self._database = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            os.chmod(path, 0o600)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise errors.StorageError(
                    f"{path}: schema {version} is of another release; ours is {_SCHEMA_VERSION}"
                )
            self._database.executescript(_SCHEMA)
            self._database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        self._path = path
        self._wrote = False  # since it was opened
        with self._transaction(writes=True) as database:
            _begin(database)

    def revision(self) -> int:
        """See `interface.Engine.revision`."""
        with self._transaction() as database:
            return _revision(database)

    def create(self, key: str, value: bytes) -> int:
        """See `interface.Engine.create`."""
        with self._transaction(writes=True) as database:
            if _get(database, key) is not None:
                raise errors.AlreadyExists(f"{key} already exists")
            revision = self._append(database, key, "ADDED", value)
        return self._written_at(revision)

    def get(self, key: str) -> interface.Item | None:
        """See `interface.Engine.get`."""
        with self._transaction() as database:
            return _get(database, key)

    def check(self, revision: int) -> int:
        """See `interface.Engine.check`."""
        with self._transaction() as database:
            return _check_revision(database, revision)

    def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, size_max: int = 0
    ) -> interface.Page:
        """See `interface.Engine.list`."""
        items: list[interface.Item] = []
        size, remaining, more = 0, 0, False
        with self._transaction() as database:
            now = _check_revision(database, revision)
            bounds: dict[str, str | int] = {
                "after": after,
                "first": prefix,
                "end": interface.after_prefix(prefix),
                "revision": revision or now,
            }
            with contextlib.closing(
                database.execute(f"SELECT key, value, revision {_LIVING}", bounds)
            ) as rows:
                for row in rows:
                    if (limit and len(items) == limit) or (size_max and size >= size_max):
                        more = True
                        break
                    items.append(interface.Item(*row))
                    size += len(row[1])
            if more and len(items) == limit:
                bounds["after"] = items[-1].key
                remaining = database.execute(f"SELECT count(*) {_LIVING}", bounds).fetchone()[0]
        return interface.Page(items, revision or now, remaining, more)

    def update(self, key: str, value: bytes, revision: int) -> int:
        """See `interface.Engine.update`."""
        with self._transaction(writes=True) as database:
            _require(database, key, revision)
            written = self._append(database, key, "MODIFIED", value)
        return self._written_at(written)

    def delete(self, key: str, revision: int) -> int:
        """See `interface.Engine.delete`."""
        with self._transaction(writes=True) as database:
            last = _require(database, key, revision)
            written = self._append(database, key, "DELETED", last.value)
        return self._written_at(written)

    def watch(self, prefix: str, after: int) -> SqliteWatch:
        """See `interface.Engine.watch`."""
        self.check(after)
        return SqliteWatch(self, prefix, after)

    def compact(self, revision: int) -> None:
        """See `interface.Engine.compact`."""
        with self._transaction(writes=True) as database:
            done = database.execute("SELECT revision FROM compacted").fetchone()[0]
            if not done < revision <= _revision(database):
                return
            database.execute(
                """DELETE FROM log WHERE revision <= :revision AND (kind = 'DELETED' OR EXISTS (
                   SELECT 1 FROM log AS later WHERE later.key = log.key
                   AND later.revision > log.revision AND later.revision <= :revision))""",
                {"revision": revision},
            )
            database.execute("UPDATE compacted SET revision = ?", (revision,))
            database.execute("DELETE FROM gaps WHERE next <= ?", (revision,))

    def close(self) -> None:
        """See `interface.Engine.close`."""
        with self._lock:
            self._database.close()

    def events(self, prefix: str, after: int) -> tuple[Sequence[interface.Event], int]:
        """Events above `after`, and the revision up to which the prefix has been read."""
        with self._transaction() as database:
            now = _check_revision(database, after)
            events: list[interface.Event] = []
            size = 0
            with contextlib.closing(
                database.execute(
                    """SELECT kind, key, value, revision, CASE kind WHEN 'ADDED' THEN NULL ELSE
                       (SELECT before.value FROM log AS before WHERE before.key = log.key
                        AND before.revision < log.revision ORDER BY before.revision DESC LIMIT 1)
                       END FROM log WHERE revision > ? AND key >= ? AND key < ?
                       ORDER BY revision LIMIT ?""",
                    (after, prefix, interface.after_prefix(prefix), _EVENTS_MAX),
                )
            ) as rows:
                for row in rows:
                    events.append(interface.Event(*row))
                    size += len(row[2]) + len(row[4] or b"")
                    if size >= _EVENT_BYTES_MAX:
                        break
        full = size >= _EVENT_BYTES_MAX or len(events) == _EVENTS_MAX
        return events, events[-1].revision if full else now

    def _append(
        self, database: sqlite3.Connection, key: str, kind: interface.EventKind, value: bytes
    ) -> int:
        last = _revision(database)
        revision = last + 1
        if not self._wrote:
            revision = epochs.start(last)
            database.execute("INSERT INTO gaps VALUES (?, ?)", (last, revision))
        database.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (revision, key, kind, value))
        return revision

    def _written_at(self, revision: int) -> int:
        """Call when the write has been committed."""
        self._wrote = True
        return revision

    def wait(self, timeout_s: float) -> None:
        """Wait for a write through this engine, at most `timeout_s`, and at most a second."""
        with self._written:
            self._written.wait(min(timeout_s, _POLL_S))

    @contextlib.contextmanager
    def _transaction(self, writes: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            self._database.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        if writes:
            with self._written:
                self._written.notify_all()


class SqliteWatch:
    """See `interface.Watch`."""

    def __init__(self, engine: SqliteEngine, prefix: str, after: int) -> None:
        self._engine = engine
        self._prefix = prefix
        self._after = after

    @property
    def revision(self) -> int:
        """See `interface.Watch.revision`."""
        return self._after

    def next(self, timeout_s: float) -> Sequence[interface.Event]:
        """See `interface.Watch.next`."""
        events, self._after = self._engine.events(self._prefix, self._after)
        if not events and timeout_s > 0:
            self._engine.wait(timeout_s)
            events, self._after = self._engine.events(self._prefix, self._after)
        return events

    def close(self) -> None:
        """See `interface.Watch.close`."""


def _revision(database: sqlite3.Connection) -> int:
    return max(1, _last(database) or 1)


def _check_revision(database: sqlite3.Connection, revision: int) -> int:
    """The last revision. `revision` 0 is that one."""
    now = _revision(database)
    if not revision:
        return now
    if revision < database.execute("SELECT revision FROM compacted").fetchone()[0]:
        raise errors.Expired(f"revision {revision} has been compacted; list again")
    if revision > now:
        raise errors.TooLargeResourceVersion(revision, now)
    gap = database.execute(
        "SELECT 1 FROM gaps WHERE last < :revision AND next > :revision", {"revision": revision}
    )
    if gap.fetchone() is not None:
        raise errors.Expired(f"revision {revision} is not of this database; list again")
    return now


def _get(database: sqlite3.Connection, key: str) -> interface.Item | None:
    row = database.execute(
        "SELECT key, value, revision, kind FROM log WHERE key = ? ORDER BY revision DESC LIMIT 1",
        (key,),
    ).fetchone()
    return None if row is None or row[3] == "DELETED" else interface.Item(*row[:3])


def _require(database: sqlite3.Connection, key: str, revision: int) -> interface.Item:
    item = _get(database, key)
    if item is None or item.revision != revision:
        raise errors.Conflict(f"{key} has been modified; it is not at revision {revision}")
    return item


def _begin(database: sqlite3.Connection) -> None:
    """Give a new database its first revision, below which there is nothing."""
    if _last(database) is None:
        revision = epochs.start()
        database.execute("INSERT INTO sqlite_sequence VALUES ('log', ?)", (revision,))
        database.execute("UPDATE compacted SET revision = ?", (revision,))


def _last(database: sqlite3.Connection) -> int | None:
    """AUTOINCREMENT's own note of the last revision (https://www.sqlite.org/autoinc.html)."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
    return None if row is None else int(row[0])


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise errors.Unavailable(f"objects in {path}: {error}") from error
    except (sqlite3.DatabaseError, OSError) as error:
        raise errors.StorageError(f"objects in {path}: {error}") from error
