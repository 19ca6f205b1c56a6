"""`coredumpd store migrate`: every dump of one store committed to another.

A commit that is there already is success, so running it again continues where it ended.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Iterable, Iterator

from coredumpd import errors, parallel, terminal, units
from coredumpd.formats import layout
from coredumpd.store import interface, reader
from coredumpd.storetool import report as reports
from coredumpd.storetool import survey, usage

_FAILURES_MAX = 20  # then it is the store that fails, not a dump


def missing(source: Iterable[str], target: Iterable[str]) -> Iterator[str]:
    """The paths in `source` that are not in `target`, both sorted; neither is held in memory."""
    rest = iter(target)
    candidate = next(rest, None)
    for path in source:
        while candidate is not None and candidate < path:
            candidate = next(rest, None)
        if candidate != path:
            yield path


def run(source: interface.Store, target: interface.Store, arguments: argparse.Namespace) -> int:
    """Copy every dump and print the failures; 1 when a dump could not be copied."""
    shares, _, _ = usage.count(source, arguments.namespace, 1)
    total = sum(share.bytes for share in shares)
    report = reports.Report(arguments.output, "failures")
    paths = missing(
        _dump_paths(source, arguments.namespace), _dump_paths(target, arguments.namespace)
    )
    copied = failed = size = 0
    copy = functools.partial(_copy, source, target)
    with terminal.Progress(
        "copied", total, unit="dumps", interval_s=reports.PROGRESS_INTERVAL_S
    ) as progress:
        for path, result in parallel.each(copy, paths, arguments.parallel):
            if isinstance(result, errors.CoredumpdError):
                failed += 1
                with progress.hidden():
                    report.row(f"{path}: {result}", {"dump": path, "error": str(result)})
                if failed >= _FAILURES_MAX:
                    break
                continue
            copied, size = copied + 1, size + result
            progress.advance(result)
        _copy_notes(source, target, arguments.namespace)
    already = sum(share.dumps for share in shares) - copied - failed
    line = f"{copied} dumps copied, {units.format_quantity(size)}B; {already} there already"
    if failed >= _FAILURES_MAX:
        line = f"{copied} dumps copied, {units.format_quantity(size)}B; given up"
    if failed:
        line += f"; {failed} failed; run the same command again to continue"
    fields = {"copied": copied, "bytes": size, "already": already, "failed": failed}
    report.end(line, fields)
    return 1 if failed else 0


def _dump_paths(store: interface.Store, namespace: str | None) -> Iterator[str]:
    """Paths of the places that have the files of a dump; each ends in "/", to sort as files do."""
    for place in survey.places(store.files(layout.Prefix(namespace))):
        if place.is_dump:
            yield f"{place.path}/"


def _copy_notes(source: interface.Store, target: interface.Store, namespace: str | None) -> None:
    """Copy the notes about pods, such as when one was deleted. Their dumps were copied before."""
    for place in survey.places(source.files(layout.Prefix(namespace))):
        if place.note is not None and (data := source.read_note(*place.note)) is not None:
            target.write_note(*place.note, data)


def _copy(
    source: interface.Store, target: interface.Store, path: str
) -> int | errors.CoredumpdError:
    """The number of bytes copied, or the error that prevented it."""
    key = layout.DumpKey(*path.removesuffix("/").split("/"))
    try:
        record = source.read_record(key)
        with contextlib.closing(source.open_core(key)) as core:
            index = reader.index(source, key, record)
            target.commit(key, record, reader.verified(core, record.stored_crc32), index)
            return core.size + (len(index.data) if index is not None else 0)
    except errors.NotFound:
        return 0  # deleted since it was listed
    except errors.CoredumpdError as error:
        return error
