"""Crash loops: of one container's same program and signal, the first and the last keep their core.

The crashes between are folded into one record that counts them, a dump whose core is empty. So a
loop costs a bounded number of cores, and nothing crashes unseen. Pure: `choose` decides, the agent
does it in the spool and the collector in the store.

A fold first writes a counting record, then removes the crashes it counts. The counting record lists
their ids: after a fold that was cut half-way, the next one removes those that are left and does not
count them again.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.settings import sections

FIELD = "crashLoop"  # of a counting record
REASON = "a crash loop: only counted"  # its core.truncated.reason
NO_CORE = gzip.compress(b"", mtime=0)  # its core.gz
FOLDED_MAX = 1000  # ids in one record, which has its own limit
_T = TypeVar("_T")
Age = tuple[int, int, str]  # seconds since the epoch, then pid and name
SameCrash = tuple[str, str, str, int]
_MARK = "-loop"  # ends the program's part of its id


@dataclasses.dataclass(frozen=True)
class Crash:
    """One crash, or the record that counts several.

    `count`: crashes it stands for; `folded`: ids it has replaced, None for a crash of its own.
    """

    id: str
    count: int = 1
    folded: frozenset[str] | None = None

    @functools.cached_property
    def time_s(self) -> int:
        """Seconds since the epoch; 0 for an id that is not ours."""
        return names.id_time(self.id)


@dataclasses.dataclass(frozen=True)
class Fold:
    """Remove `counted`, once a record that counts `count` crashes is written.

    `count` None: that record exists already.
    """

    counted: tuple[Crash, ...]
    count: int | None


def of(record: records.CrashRecord) -> Crash:
    """The crash, or the counting record, that `record` is; with a malformed count it is a crash."""
    loop = record.raw.get(FIELD)
    if not isinstance(loop, dict):
        return Crash(record.id)
    count, folded = loop.get("count"), loop.get("folded")
    if not isinstance(count, int) or isinstance(count, bool) or not isinstance(folded, list):
        return Crash(record.id)
    return Crash(record.id, count, frozenset(map(str, folded)))


def same_crash(record: records.CrashRecord) -> SameCrash:
    """A key that is equal for two crashes exactly if they are the same: pod, container, program
    and signal. It survives the container's restarts, which change the container's id only.
    """
    container = record.container or record.container_id or ""
    return record.pod_uid or "", container, record.program, record.signal_number


def program(id: str) -> str:
    """The part of a dump's id that names the program; a counting record's id has the same."""
    return id.rsplit("-", 3)[0].removesuffix(_MARK)


def episodes(items: Iterable[_T], window_s: float, age: Callable[[_T], Age]) -> Iterator[list[_T]]:
    """`items` by age, split wherever one is `window_s` or more after the first of its list."""
    episode: list[_T] = []
    began_s = 0
    for item in sorted(items, key=age):
        time_s = age(item)[0]
        if episode and time_s - began_s >= window_s:
            yield episode
            episode = []
        if not episode:
            began_s = time_s
        episode.append(item)
    if episode:
        yield episode


def by_age(crash: Crash) -> Age:
    """Sort key: the time of the crash; within a second the pid, which counts up; then the id."""
    return crash.time_s, names.pid_of(crash.id) or 0, crash.id


def choose(crashes: Iterable[Crash], rules: sections.CrashLoopSettings) -> list[Fold]:
    """The folds due among instances of one `same_crash`; ids of foreign form are left alone."""
    ours = [crash for crash in crashes if crash.time_s]
    folded_ids = frozenset[str]().union(*(crash.folded or () for crash in ours))
    counted = tuple(crash for crash in ours if crash.id in folded_ids)
    folds = [Fold(counted, None)] if counted else []
    if rules.window:
        remaining = [crash for crash in ours if crash.id not in folded_ids]
        for episode in episodes(remaining, rules.window, by_age):
            folds += _of_episode(episode, rules)
    return folds


def _of_episode(episode: list[Crash], rules: sections.CrashLoopSettings) -> Iterator[Fold]:
    own = [crash for crash in episode if crash.folded is None]
    spare = own[rules.first : max(rules.first, len(own) - rules.last)]
    counting = [crash for crash in episode if crash.folded is not None]
    if spare or len(counting) > 1:
        ids = {crash.id for crash in (*spare, *counting)}
        counted = [crash for crash in episode if crash.id in ids][:FOLDED_MAX]
        yield Fold(tuple(counted), sum(crash.count for crash in counted))


def within(fold: Fold, ids: Collection[str]) -> Fold | None:
    """The part of `fold` whose crashes are among `ids`; None if it would change nothing."""
    counted = tuple(crash for crash in fold.counted if crash.id in ids)
    if fold.count is None:
        return Fold(counted, None) if counted else None
    if len(counted) == 1 and counted[0].folded is not None:
        return None  # a lone counting record: what it would be folded with is elsewhere
    return Fold(counted, sum(crash.count for crash in counted)) if counted else None


def counting(
    last: records.CrashRecord, fold: Fold, first_time: str, nonce: int
) -> records.CrashRecord:
    """The record that stands for `fold`: that of its `last` crash, without the core.

    `first_time`: when the first of them happened, as records write it.
    """
    core = {
        **last.raw["core"],
        "size": 0,
        "storedSize": len(NO_CORE),
        "crc32": "00000000",
        "sparseBytes": 0,
        "truncated": {"is": True, "reason": REASON, "limit": None},
        "members": 1,
    }
    for name in records.OF_ONE_CORE:
        core.pop(name, None)
    pid = last.raw["process"]["pid"]
    loop = {
        "count": fold.count,
        "firstTime": first_time,
        "lastTime": last.time,
        "folded": [crash.id for crash in fold.counted],
    }
    id = names.make_id(program(last.id) + _MARK, names.id_time(last.id), pid, nonce)
    return last.with_(id=id, core=core, **{FIELD: loop})


def without_ids(record: records.CrashRecord) -> records.CrashRecord:
    """`record` as a server takes it from a node: no dump in the store is removed for its ids.

    They are of crashes that the node itself has folded and that were never shipped.
    """
    loop = record.raw.get(FIELD)
    return record.with_(**{FIELD: {**loop, "folded": []}}) if isinstance(loop, dict) else record


def first_time(record: records.CrashRecord) -> str:
    """Time of the earliest crash this record stands for."""
    loop = record.raw.get(FIELD)
    time = loop.get("firstTime") if isinstance(loop, dict) else None
    return time if isinstance(time, str) else record.time
