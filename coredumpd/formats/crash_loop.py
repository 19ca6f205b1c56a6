"""Crash loops: of one container's same program and signal, the first and the last keep their core.

The crashes between are folded into one record that counts them, a dump whose core is empty. So a
loop costs a bounded number of cores, and nothing crashes unseen. Pure: `choose` decides, the agent
does it in the spool and the collector in the store.

A fold is a new dump, then the removal of what it counts; it names each of those, so whoever finds
both, after a fold that was cut half-way, removes and does not count again.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar

from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.settings import sections

FIELD = "crashLoop"  # of a counting record
REASON = "a crash loop: only counted"  # its core.truncated.reason
NO_CORE = gzip.compress(b"", mtime=0)  # its core.gz
FOLDED_MAX = 1000  # ids in one record, which has its own limit
_T = TypeVar("_T")
Age = tuple[int, str]  # seconds since the epoch, then the name
_MARK = "-loop"  # ends the program's part of its id


@dataclasses.dataclass(frozen=True)
class Crash:
    """What decides: `count` is of the crashes it stands for, `folded` of a counting record."""

    id: str
    count: int = 1
    folded: frozenset[str] | None = None  # None: it is a crash of its own

    @functools.cached_property
    def time_s(self) -> int:
        """Seconds since the epoch; 0 for an id that is not ours."""
        return names.id_time(self.id)


@dataclasses.dataclass(frozen=True)
class Fold:
    """`counted` go; what counts them stands for `count` crashes, None where it is there already."""

    counted: tuple[Crash, ...]
    count: int | None


def of(crash: records.CrashRecord) -> Crash:
    """The crash, or the counting record, that `crash` is. What is no honest count is a crash."""
    said = crash.raw.get(FIELD)
    if not isinstance(said, dict):
        return Crash(crash.id)
    count, folded = said.get("count"), said.get("folded")
    if not isinstance(count, int) or isinstance(count, bool) or not isinstance(folded, list):
        return Crash(crash.id)
    return Crash(crash.id, count, frozenset(map(str, folded)))


def group(crash: records.CrashRecord) -> tuple[Any, ...]:
    """What makes two crashes the same: the container, by name, the program and the signal."""
    raw, process = crash.raw, crash.raw["process"]
    place = raw["container"] or raw["containerID"]
    return raw["podUID"], place, process.get("exe") or process["comm"], raw["signal"]["number"]


def program(id: str) -> str:
    """The part of a dump's id that names the program, the same for what counts its crashes."""
    return id.rsplit("-", 3)[0].removesuffix(_MARK)


def episodes(items: Iterable[_T], window_s: float, age: Callable[[_T], Age]) -> Iterator[list[_T]]:
    """`items` by age, a new list whenever one is `window_s` after the first of its list."""
    found: list[_T] = []
    began_s = 0
    for item in sorted(items, key=age):
        time_s = age(item)[0]
        if found and time_s - began_s >= window_s:
            yield found
            found = []
        if not found:
            began_s = time_s
        found.append(item)
    if found:
        yield found


def by_age(crash: Crash) -> Age:
    """What orders crashes."""
    return crash.time_s, crash.id


def choose(crashes: Iterable[Crash], rules: sections.CrashLoopSettings) -> list[Fold]:
    """What is to be folded of one `group`; an id that is not ours is left alone."""
    ours = [crash for crash in crashes if crash.time_s]
    done = frozenset[str]().union(*(crash.folded or () for crash in ours))
    counted = tuple(crash for crash in ours if crash.id in done)
    folds = [Fold(counted, None)] if counted else []
    if rules.window:
        left = [crash for crash in ours if crash.id not in done]
        for episode in episodes(left, rules.window, by_age):
            folds += _of_episode(episode, rules)
    return folds


def _of_episode(episode: list[Crash], rules: sections.CrashLoopSettings) -> Iterator[Fold]:
    own = [crash for crash in episode if crash.folded is None]
    spare = own[rules.first : max(rules.first, len(own) - rules.last)]
    counting = [crash for crash in episode if crash.folded is not None]
    if spare or len(counting) > 1:
        ids = {crash.id for crash in (*spare, *counting)}
        chosen = [crash for crash in episode if crash.id in ids][:FOLDED_MAX]
        yield Fold(tuple(chosen), sum(crash.count for crash in chosen))


def within(fold: Fold, ids: Collection[str]) -> Fold | None:
    """The part of `fold` that is among `ids`; None where that would change nothing."""
    counted = tuple(crash for crash in fold.counted if crash.id in ids)
    if fold.count is None:
        return Fold(counted, None) if counted else None
    if len(counted) == 1 and counted[0].folded is not None:
        return None  # a lone counting record: what it would be folded with is elsewhere
    return Fold(counted, sum(crash.count for crash in counted)) if counted else None


def counting(
    last: records.CrashRecord, fold: Fold, first_time: str, nonce: int
) -> records.CrashRecord:
    """The record that stands for `fold`: as its `last` crash, without a core.

    `first_time` is when the first of them was, as records write it.
    """
    raw = last.raw
    pid = raw["process"]["pid"]
    made = dict(raw) | {
        "id": names.make_id(program(last.id) + _MARK, names.id_time(last.id), pid, nonce),
        "core": raw["core"]
        | {
            "size": 0,
            "storedSize": len(NO_CORE),
            "crc32": "00000000",
            "sparseBytes": 0,
            "truncated": {"is": True, "reason": REASON, "limit": None},
            "members": 1,
        },
        FIELD: {
            "count": fold.count,
            "firstTime": first_time,
            "lastTime": raw["time"],
            "folded": [crash.id for crash in fold.counted],
        },
    }
    for name in ("storedCrc32", "sealed"):  # of the other core
        made["core"].pop(name, None)
    return records.CrashRecord(made)


def first_time(crash: records.CrashRecord) -> str:
    """When the first crash was that `crash` is, or counts."""
    said = crash.raw.get(FIELD)
    time = said.get("firstTime") if isinstance(said, dict) else None
    return time if isinstance(time, str) else str(crash.raw["time"])
