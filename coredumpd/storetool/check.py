"""`coredumpd store check` and `repair`: one pass over every file of a store."""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Iterable

from coredumpd import errors, parallel, terminal, units
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.store import interface, reader
from coredumpd.storetool import report as reports
from coredumpd.storetool import survey, verify

LEFTOVER = ("half-written", "half-deleted", "set-aside", "no-record", "no-core")
DAMAGED = ("bad-crc", "wrong-size", "bad-index", "bad-record", "wrong-place")
# The others are never touched: in-progress, stray, unreadable.


def run(store: interface.Store, arguments: argparse.Namespace, *, repairing: bool) -> int:
    """Look at every file, print the findings and what was done; 0 when nothing is left to do."""
    report = reports.Report(arguments.output, "findings")
    examine = functools.partial(_examine, store, arguments, time.time())
    dumps = size = count = left = 0
    places = survey.places(store.files(layout.Prefix(arguments.namespace)))
    with terminal.Progress(
        "checked", unit="dumps", interval_s=reports.PROGRESS_INTERVAL_S
    ) as progress:
        for place, findings in parallel.each(examine, places, arguments.parallel):
            if place.is_dump:
                dumps, size = dumps + 1, size + place.size
                progress.advance(place.size)
            for finding in findings:
                action = _repair(store, place, finding, arguments) if repairing else None
                with progress.hidden():
                    _print(report, finding, action)
                if finding.kind != "in-progress":
                    count += 1
                    left += action not in ("completed", "deleted")
    line = f"{dumps} dumps, {units.format_quantity(size)}B, {count} findings"
    totals = {"dumps": dumps, "bytes": size, "found": count}
    if repairing:
        line, totals["left"] = f"{line}, {left} left", left
    report.end(line, totals)
    return 1 if left else 0


def _print(report: reports.Report, finding: survey.Finding, action: str | None) -> None:
    line = f"{finding.kind:12} {finding.path}: {finding.detail}"
    fields = {"kind": finding.kind, "path": finding.path, "detail": finding.detail}
    if action is not None:
        line, fields["action"] = f"{line}: {action}", action
    report.row(line, fields)


def _examine(
    store: interface.Store, arguments: argparse.Namespace, now_s: float, place: survey.Place
) -> list[survey.Finding]:
    findings = survey.findings(place, now_s, arguments.grace)
    if place.is_dump and place.key is not None:
        findings += verify.dump(
            store, place.key, place, quick=arguments.quick, decompress=arguments.decompress
        )
    return findings


def _repair(
    store: interface.Store,
    place: survey.Place,
    finding: survey.Finding,
    arguments: argparse.Namespace,
) -> str:
    """Complete or remove it; returns what was done, for people."""
    try:
        if finding.kind == "half-written" and _complete(store, place):
            _discard(store, [file.path for file in place.files.values()])
            return "completed"
        if finding.kind in LEFTOVER:
            whole = finding.path == place.path
            paths = [file.path for file in place.files.values()] if whole else [finding.path]
            if not arguments.delete:
                return "--delete would remove it"
            _discard(store, paths)
            return "deleted"
        if finding.kind in DAMAGED:
            if place.key is None or not (arguments.delete and arguments.damaged):
                return "--delete --damaged would remove it"
            with contextlib.suppress(errors.NotFound):  # a second finding of the same dump
                store.delete(place.key)
            return "deleted"
    except errors.CoredumpdError as error:
        return f"failed: {error}"
    return "left alone"


def _complete(store: interface.Store, place: survey.Place) -> bool:
    """Commit a dump that was written whole but not made visible; False if it is not whole."""
    if place.key is None or not {survey.CORE, survey.META} <= set(place.files):
        return False
    try:
        meta = _read(store, place.files[survey.META].path, records.RECORD_BYTES_MAX)
        record = records.CrashRecord.parse(meta)
        if record.key() != place.key or record.stored_crc32 is None:
            return False
        if record.stored_size != place.files[survey.CORE].size:
            return False
        data = None
        if survey.INDEX in place.files:
            data = _read(store, place.files[survey.INDEX].path, core_index.BYTES_MAX)
        index = core_index.of_record(record, data)
        with contextlib.closing(store.open_file(place.files[survey.CORE].path)) as core:
            store.commit(place.key, record, reader.verified(core, record.stored_crc32), index)
    except (errors.BadRecord, errors.Invalid, errors.StorageError):
        return False  # not whole after all; it stays as it is
    return True


def _read(store: interface.Store, path: str, size_max: int) -> bytes:
    """The file's content, at most one byte more than `size_max`."""
    with contextlib.closing(store.open_file(path)) as file:
        return file.read_at(0, size_max + 1)


def _discard(store: interface.Store, paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(errors.NotFound):  # the commit cleans up after itself
            store.discard(path)
