"""`coredumpd store usage`: dumps and bytes by namespace, pod or container, from a listing alone."""

from __future__ import annotations

import argparse
import dataclasses
import json

from coredumpd import errors, terminal, units
from coredumpd.formats import layout
from coredumpd.store import interface
from coredumpd.storetool import survey

_DEPTHS = {"namespace": 1, "pod": 2, "container": 3}


@dataclasses.dataclass
class Share:
    """The dumps and bytes of one namespace, pod or container."""

    sample: layout.DumpKey  # one of its dumps, whose record has the pod's name
    dumps: int = 0
    bytes: int = 0


def count(
    store: interface.Store, namespace: str | None, depth: int
) -> tuple[list[Share], int, int]:
    """The shares, largest first, then bytes and number of files that belong to no dump."""
    shares: dict[tuple[str, ...], Share] = {}
    other_bytes = other_files = 0
    for place in survey.places(store.files(layout.Prefix(namespace))):
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


def run(store: interface.Store, arguments: argparse.Namespace) -> int:
    """Print the shares and their total; 0."""
    depth = _DEPTHS[arguments.by]
    shares, other_bytes, other_files = count(store, arguments.namespace, depth)
    dumps, size = sum(share.dumps for share in shares), sum(share.bytes for share in shares)
    names = ("namespace", "podUID", "container")[:depth]
    items = []
    for share in shares:
        key = share.sample
        values = zip(names, (key.namespace, key.pod_uid, key.container), strict=False)
        pod = {"podName": _pod_name(store, key)} if depth > 1 else {}
        items.append({**dict(values), **pod, "dumps": share.dumps, "bytes": share.bytes})
    if arguments.output == "json":
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
    terminal.table({**columns, "DUMPS": "right", "BYTES": "right"}, rows)
    if other_files:
        quantity = f"{units.format_quantity(other_bytes)}B"
        print(f"{other_files} files, {quantity}, belong to no dump: see coredumpd store check")
    return 0


def _pod_name(store: interface.Store, key: layout.DumpKey) -> str | None:
    try:
        return store.read_record(key).pod_name
    except (errors.NotFound, errors.BadRecord, errors.StorageError):
        return None  # its bytes count all the same
