"""`coredumpd store check` and `repair`: one pass over every file of a store."""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Iterable

from coredumpd import errors, parallel, units
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.store import interface
from coredumpd.storetool import reader, survey, verify
from coredumpd.storetool import report as show

LEFTOVER = ("half-written", "half-deleted", "set-aside", "no-record", "no-core")
DAMAGED = ("bad-crc", "wrong-size", "bad-record", "wrong-place")
# The others are never touched: in-progress, stray, unreadable.


def run(where: interface.Store, chosen: argparse.Namespace, *, repairing: bool) -> int:
    """Look at everything, say what is found and done; 0 when nothing is left to do."""
    report = show.Report(chosen.output, "findings")
    progress = show.Progress("checked")
    look = functools.partial(_look, where, chosen, time.time())
    dumps = size = found = open_findings = 0
    places = survey.places(where.files(layout.Prefix(chosen.namespace)))
    try:
        for place, findings in parallel.each(look, places, chosen.parallel):
            if place.is_dump:
                dumps, size = dumps + 1, size + place.size
                progress.advance(place.size)
            for finding in findings:
                done = _repair(where, place, finding, chosen) if repairing else None
                fields = {"kind": finding.kind, "path": finding.path, "detail": finding.detail}
                line = f"{finding.kind:12} {finding.path}: {finding.detail}"
                if done is not None:
                    line, fields["action"] = f"{line}: {done}", done
                report.row(line, fields)
                if finding.kind != "in-progress":
                    found += 1
                    open_findings += done not in ("completed", "deleted")
    finally:
        progress.close()
    quantity = f"{units.format_quantity(size)}B"
    line = f"{dumps} dumps, {quantity}, {found} findings"
    totals = {"dumps": dumps, "bytes": size, "found": found}
    if repairing:
        line, totals["left"] = f"{line}, {open_findings} left", open_findings
    report.end(line, totals)
    return 1 if open_findings else 0


def _look(
    where: interface.Store, chosen: argparse.Namespace, now_s: float, place: survey.Place
) -> list[survey.Finding]:
    findings = list(survey.by_name(place, now_s, chosen.grace))
    if place.is_dump and place.key is not None:
        findings += verify.dump(
            where, place.key, place, quick=chosen.quick, decompress=chosen.decompress
        )
    return findings


def _repair(
    where: interface.Store, place: survey.Place, finding: survey.Finding, chosen: argparse.Namespace
) -> str:
    """Finish or remove; returns what was done, for people."""
    try:
        if finding.kind == "half-written" and _complete(where, place):
            _discard(where, [file.path for file in place.files.values()])
            return "completed"
        if finding.kind in LEFTOVER:
            whole = finding.path == place.path
            paths = [file.path for file in place.files.values()] if whole else [finding.path]
            if not chosen.delete:
                return "--delete would remove it"
            _discard(where, paths)
            return "deleted"
        if finding.kind in DAMAGED:
            if place.key is None or not (chosen.delete and chosen.damaged):
                return "--delete --damaged would remove it"
            with contextlib.suppress(errors.NotFound):  # a second finding of the same dump
                where.delete(place.key)
            return "deleted"
    except errors.CoredumpdError as error:
        return f"failed: {error}"
    return "left alone"


def _complete(where: interface.Store, place: survey.Place) -> bool:
    """Commit a dump that was written whole but not made visible; False if it is not whole."""
    if place.key is None or not {survey.CORE, survey.META} <= set(place.files):
        return False
    try:
        entry = _record(where, place.files[survey.META].path)
        said = entry.raw["core"]
        if entry.key() != place.key or "storedCrc32" not in said:
            return False
        if said["storedSize"] != place.files[survey.CORE].size:
            return False
        with contextlib.closing(where.open_file(place.files[survey.CORE].path)) as core:
            where.commit(place.key, entry, reader.of(core, said["storedCrc32"]))
    except (errors.BadRecord, errors.Invalid, errors.StorageError):
        return False  # not whole after all; it stays as it is
    return True


def _record(where: interface.Store, path: str) -> records.CrashRecord:
    with contextlib.closing(where.open_file(path)) as meta:
        return records.CrashRecord.parse(meta.read_at(0, records.RECORD_BYTES_MAX + 1))


def _discard(where: interface.Store, paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(errors.NotFound):  # the commit cleans up after itself
            where.discard(path)
