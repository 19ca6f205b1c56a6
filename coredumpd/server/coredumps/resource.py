"""Coredump: the inventory, one object per stored dump. Nothing has to be created to see a crash.

Tested in: tests/integration/server/test_coredumps.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.machinery import lifecycle, options
from coredumpd.apiserver.rest import lists, watch_cache
from coredumpd.formats import layout, names
from coredumpd.formats import record as records
from coredumpd.server import kinds
from coredumpd.server.coredumps import catalog as catalogs
from coredumpd.server.coredumps import coredump
from coredumpd.server.dumps import inventory as inventories
from coredumpd.server.dumps import selection

_STATUS_FIELDS = ("podUID", "podName", "container", "node")
FIELDS = ("metadata.name", "metadata.namespace", *(f"status.{one}" for one in _STATUS_FIELDS))
_CHUNK = 32  # objects made in one go in a thread; few have more than 4 KiB, none over 256


class Coredumps:
    """The resource behind the handlers; see `apiserver.rest.resource.Resource`."""

    kind = kinds.COREDUMP
    fields: tuple[str, ...] = FIELDS

    def __init__(self, inventory: inventories.Inventory) -> None:
        self._inventory = inventory
        self._catalog = catalogs.Catalog(inventory)
        self.changes = self._catalog.changes

    def start(self) -> None:
        """Begin to follow the store. Call on the event loop."""
        self._catalog.start()

    def close(self) -> None:
        """Follow it no more."""
        self._catalog.stop()

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The object. Raises NotFound."""
        entry, record = await self._find(namespace, name)
        return coredump.make(entry.key, record, entry.revision)

    async def pages(self, namespace: str | None, selection: options.List) -> lists.Pages:
        """Objects in the order of namespace and name. Each page shows the store as it is then."""
        if namespace is not None and not _is_namespace(namespace):
            raise errors.BadRequest.about(
                "metadata.namespace", f"{namespace!r} is not a namespace's name"
            )
        await self._catalog.refresh(namespace)
        revision = self._catalog.reach(selection.at_least)
        if selection.continued:
            revision = selection.revision
        elif selection.revision not in (0, revision):
            raise errors.Expired(
                f"the dumps of revision {selection.revision} are not known any more"
            )
        entries = self._entries_after(namespace, selection.start)
        limit, position, selected, last = selection.limit, 0, 0, False
        while not last:
            size = min(_CHUNK, limit - selected) if limit else _CHUNK
            chunk = entries[position : position + size]
            position += len(chunk)
            readable = await self._inventory.read([entry.key for entry in chunk])
            documents = await self._inventory.run(_documents, chunk, readable)
            for entry in chunk:
                entry.shown = entry.shown or entry.key in readable
            documents = [
                one for one in documents if not selection.filters or self.matches(one, selection)
            ]
            selected += len(documents)
            last = position >= len(entries) or (limit > 0 and selected >= limit)
            meta: dict[str, Any] = {"resourceVersion": str(revision)}
            if position < len(entries):
                key = entries[position - 1].key
                meta["continue"] = options.make_token(revision, f"{key.namespace}/{key.id}")
                if not selection.filters:
                    meta["remainingItemCount"] = len(entries) - position
            yield lists.Page(documents, meta, last)

    async def create(self, *_: object) -> dict[str, Any]:
        """Always MethodNotAllowed: dumps are made by crashes."""
        raise errors.MethodNotAllowed("a Coredump is made by a crash, not by a request")

    async def update(self, *_: object) -> dict[str, Any]:
        """Always MethodNotAllowed: dumps do not change."""
        raise errors.MethodNotAllowed("a Coredump cannot be changed, only deleted")

    def unknown_fields(self, body: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        """None: no request writes a Coredump."""
        return ()

    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> tuple[dict[str, Any], bool]:
        """(the object as it was, True): the bytes go too. Raises NotFound, Conflict."""
        entry, record = await self._find(namespace, name)
        document = coredump.make(entry.key, record, entry.revision)
        lifecycle.finalizer_of(body)  # checked, but nothing depends on a dump: it goes at once
        lifecycle.check_preconditions(self.kind.plural, document["metadata"], body)
        if not how.dry_run:
            await self._inventory.delete(entry.key)
            self._catalog.forget(entry.key)
        return document, True

    async def dumps(
        self, namespace: str, name: str, container: str | None, id: str | None
    ) -> tuple[str, inventories.Dumps]:
        """(the object's name for messages, its one dump). Raises NotFound."""
        entry, record = await self._find(namespace, name)
        owner = f"coredump {namespace}/{name}"
        dump = inventories.Dump(entry.key, record)
        return owner, selection.select([dump], owner, container, id)

    async def revision(self, asked: int = 0, *, expires: bool = True) -> int:
        """The catalog's revision, after a comparison with the store. See `watch.Source`."""
        await self._catalog.refresh(None)
        now = self._catalog.reach(asked)
        if expires and asked:
            self._catalog.changes.check(asked)
        return now

    async def shown(self, change: watch_cache.Change) -> dict[str, Any]:
        """The object of a change as watchers see it."""
        return dict(change.obj)

    def matches(self, entry: Mapping[str, Any], wanted: options.List) -> bool:
        """Do the selectors select this object?"""
        meta, status = entry["metadata"], entry["status"]
        fields = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta["namespace"],
            **{f"status.{one}": status.get(one) or "" for one in _STATUS_FIELDS},
        }
        return wanted.labels.holds(meta["labels"]) and wanted.fields.holds(fields)

    async def _find(self, namespace: str, name: str) -> tuple[catalogs.Entry, records.CrashRecord]:
        """The dump of that id. A second look is at the store itself: it may be a new dump."""
        if _is_namespace(namespace) and names.is_dns_subdomain(name):
            for at_once in (False, True):
                await self._catalog.refresh(namespace, at_once=at_once)
                entry = self._catalog.entries(namespace).get(name)
                if entry is None:
                    continue
                readable = await self._inventory.read([entry.key])
                if entry.key in readable:
                    entry.shown = True
                    return entry, readable[entry.key]
        raise errors.NotFound(f'{self.kind.plural}.{kinds.GROUP} "{name}" not found')

    def _entries_after(self, namespace: str | None, start: str) -> Sequence[catalogs.Entry]:
        """Dumps in the order of namespace and id, those that come after `start`, NAMESPACE/ID."""
        first_namespace, _, last_id = start.partition("/")
        selected: list[catalogs.Entry] = []
        for name in self._catalog.namespaces() if namespace is None else [namespace]:
            if name < first_namespace:
                continue
            entries = self._catalog.entries(name)
            ids = sorted(entries)
            if name == first_namespace:
                ids = [id for id in ids if id > last_id]
            selected += [entries[id] for id in ids]
        return selected


def _documents(
    entries: Sequence[catalogs.Entry], readable: Mapping[layout.DumpKey, records.CrashRecord]
) -> Sequence[dict[str, Any]]:
    return [
        coredump.make(entry.key, readable[entry.key], entry.revision)
        for entry in entries
        if entry.key in readable
    ]


def _is_namespace(name: str) -> bool:
    return name == names.HOST_NAMESPACE or names.is_dns_label(name)
