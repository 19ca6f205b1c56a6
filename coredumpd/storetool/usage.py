"""`coredumpd store usage`: dumps and bytes by namespace, pod or container, from a listing alone."""

from __future__ import annotations

import argparse
import dataclasses
import json

from coredumpd import errors, units
from coredumpd.formats import layout
from coredumpd.store import interface
from coredumpd.storetool import report, survey

_DEPTHS = {"namespace": 1, "pod": 2, "container": 3}


@dataclasses.dataclass
class Share:
    """What one namespace, pod or container has."""

    sample: layout.DumpKey  # one of its dumps, whose record knows the pod's name
    dumps: int = 0
    bytes: int = 0


def count(
    where: interface.Store, namespace: str | None, depth: int
) -> tuple[list[Share], int, int]:
    """The shares, largest first, then bytes and number of files that belong to no dump."""
    shares: dict[tuple[str, ...], Share] = {}
    other_bytes = other_files = 0
    for place in survey.places(where.files(layout.Prefix(namespace))):
        if place.note is not None:
            continue
        if place.key is None or not place.is_dump:
            other_bytes += place.size
            other_files += len(place.files)
            continue
        names = (place.key.namespace, place.key.pod_uid, place.key.container)[:depth]
        share = shares.setdefault(names, Share(place.key))
        share.dumps += 1
        share.bytes += place.size
    ordered = sorted(shares.values(), key=lambda share: (-share.bytes, str(share.sample)))
    return ordered, other_bytes, other_files


def run(where: interface.Store, chosen: argparse.Namespace) -> int:
    """Print the shares; 0."""
    depth = _DEPTHS[chosen.by]
    shares, other_bytes, other_files = count(where, chosen.namespace, depth)
    dumps, size = sum(share.dumps for share in shares), sum(share.bytes for share in shares)
    names = ("namespace", "podUID", "container")[:depth]
    items = []
    for share in shares:
        key = share.sample
        values = zip(names, (key.namespace, key.pod_uid, key.container), strict=False)
        pod = {"podName": _pod_name(where, key)} if depth > 1 else {}
        items.append({**dict(values), **pod, "dumps": share.dumps, "bytes": share.bytes})
    if chosen.output == "json":
        other = {"bytes": other_bytes, "files": other_files}
        print(json.dumps({"items": items, "dumps": dumps, "bytes": size, "other": other}, indent=1))
        return 0
    columns = {"NAMESPACE": "left"}
    if depth > 1:
        columns |= {"POD": "left", "POD UID": "left"}
    if depth > 2:
        columns["CONTAINER"] = "left"
    fields = ("namespace", "podName", "podUID", "container")
    rows = [
        (
            *(str(item[field] or "?") for field in fields if field in item),
            str(item["dumps"]),
            units.format_quantity(int(str(item["bytes"]))),
        )
        for item in items
    ]
    rows.append(("TOTAL", *[""] * (len(columns) - 1), str(dumps), units.format_quantity(size)))
    report.table({**columns, "DUMPS": "right", "BYTES": "right"}, rows)
    if other_files:
        quantity = f"{units.format_quantity(other_bytes)}B"
        print(f"{other_files} files, {quantity}, belong to no dump: see coredumpd store check")
    return 0


def _pod_name(where: interface.Store, key: layout.DumpKey) -> str | None:
    try:
        name: str | None = where.read_record(key).raw["podName"]
    except (errors.NotFound, errors.BadRecord, errors.StorageError):
        return None  # the bytes count all the same
    return name
