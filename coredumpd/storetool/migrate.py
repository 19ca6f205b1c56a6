"""`coredumpd store migrate`: every dump of one store committed to another.

A commit that is there already is success, so running it again continues where it ended.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Iterable, Iterator

from coredumpd import errors, parallel, units
from coredumpd.formats import layout
from coredumpd.store import interface
from coredumpd.storetool import reader, survey, usage
from coredumpd.storetool import report as show

_FAILURES_MAX = 20  # then it is the store that fails, not a dump


def missing(source: Iterable[str], target: Iterable[str]) -> Iterator[str]:
    """What is in `source` and not in `target`, both sorted; neither is held in memory."""
    there = iter(target)
    candidate = next(there, None)
    for path in source:
        while candidate is not None and candidate < path:
            candidate = next(there, None)
        if candidate != path:
            yield path


def run(source: interface.Store, target: interface.Store, chosen: argparse.Namespace) -> int:
    """Copy; 1 when a dump could not be copied."""
    shares, _, _ = usage.count(source, chosen.namespace, 1)
    progress = show.Progress("copied", sum(share.bytes for share in shares))
    report = show.Report(chosen.output, "failures")
    waiting = missing(_dumps(source, chosen.namespace), _dumps(target, chosen.namespace))
    copied = failed = size = 0
    try:
        work = functools.partial(_copy, source, target)
        for path, answer in parallel.each(work, waiting, chosen.parallel):
            if isinstance(answer, errors.CoredumpdError):
                failed += 1
                report.row(f"{path}: {answer}", {"dump": path, "error": str(answer)})
                if failed >= _FAILURES_MAX:
                    break
                continue
            copied, size = copied + 1, size + answer
            progress.advance(answer)
        _copy_notes(source, target, chosen.namespace)
    finally:
        progress.close()
    already = sum(share.dumps for share in shares) - copied - failed
    line = f"{copied} dumps copied, {units.format_quantity(size)}B; {already} there already"
    if failed >= _FAILURES_MAX:
        line = f"{copied} dumps copied, {units.format_quantity(size)}B; given up"
    if failed:
        line += f"; {failed} failed; run the same command again to continue"
    fields = {"copied": copied, "bytes": size, "already": already, "failed": failed}
    report.end(line, fields)
    return 1 if failed else 0


def _dumps(where: interface.Store, namespace: str | None) -> Iterator[str]:
    """Paths of what is a dump by its files, each ending in "/": so they sort as files do."""
    for place in survey.places(where.files(layout.Prefix(namespace))):
        if place.is_dump:
            yield f"{place.path}/"


def _copy_notes(source: interface.Store, target: interface.Store, namespace: str | None) -> None:
    """What is noted about pods: when they were deleted, for one. Their dumps are there by now."""
    for place in survey.places(source.files(layout.Prefix(namespace))):
        if place.note is not None and (data := source.read_note(*place.note)) is not None:
            target.write_note(*place.note, data)


def _copy(
    source: interface.Store, target: interface.Store, path: str
) -> int | errors.CoredumpdError:
    """Bytes copied, or why not."""
    key = layout.DumpKey(*path.removesuffix("/").split("/"))
    try:
        entry = source.read_record(key)
        with contextlib.closing(source.open_core(key)) as core:
            target.commit(key, entry, reader.of(core, entry.raw["core"].get("storedCrc32")))
            return core.size
    except errors.NotFound:
        return 0  # deleted since it was listed
    except errors.CoredumpdError as error:
        return error
