"""Coredump: the inventory, one object per stored dump. Nothing has to be created to see a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.machinery import lifecycle, options
from coredumpd.apiserver.rest import watch_cache
from coredumpd.formats import names as naming
from coredumpd.formats import record as records
from coredumpd.server import kinds
from coredumpd.server.coredumps import catalog, coredump
from coredumpd.server.dumps import inventory, selection
from coredumpd.server.endpoints import resource

FIELDS = ("metadata.name", "metadata.namespace", "status.podUID", "status.podName")
_CHUNK = 500  # objects made in one go in a thread
Listing = resource.Listing
Known = list[catalog.Known]


class Coredumps:
    """The resource behind the handlers; see `resources.Resource`."""

    kind = kinds.COREDUMP
    fields: tuple[str, ...] = FIELDS

    def __init__(self, stored: inventory.Inventory) -> None:
        self._stored = stored
        self._catalog = catalog.Catalog(stored)
        self.changes = self._catalog.changes

    def start(self) -> None:
        """Begin to follow the store. Call on the event loop."""
        self._catalog.start()

    def close(self) -> None:
        """Follow it no more."""
        self._catalog.stop()

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The object. Raises NotFound."""
        known, crash = await self._find(namespace, name)
        return coredump.make(known.key, crash, known.revision)

    async def list(self, namespace: str | None, wanted: options.List) -> Listing:
        """Objects in the order of namespace and name. Pages are of the store as it is then."""
        if namespace is not None and not _is_namespace(namespace):
            raise errors.BadRequest.about(
                "metadata.namespace", f"{namespace!r} is not a namespace's name"
            )
        await self._catalog.refresh(namespace)
        revision = wanted.revision if wanted.continued else self._catalog.revision
        waiting = self._behind(namespace, wanted.start)
        found: list[dict[str, Any]] = []
        filters = bool(wanted.labels.requirements or wanted.fields.requirements)
        position = 0
        while position < len(waiting) and not (wanted.limit and len(found) >= wanted.limit):
            size = min(_CHUNK, wanted.limit - len(found)) if wanted.limit else _CHUNK
            chunk = waiting[position : position + size]
            position += len(chunk)
            made = await self._stored.run(self._made, chunk)
            found += [entry for entry in made if not filters or self.matches(entry, wanted)]
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if position < len(waiting):
            last = waiting[position - 1].key
            meta["continue"] = options.make_token(revision, f"{last.namespace}/{last.id}")
            if not filters:
                meta["remainingItemCount"] = len(waiting) - position
        return found, meta

    async def create(self, *_: object) -> dict[str, Any]:
        """Dumps are made by crashes."""
        raise errors.MethodNotAllowed("a Coredump is made by a crash, not by a request")

    async def update(self, *_: object) -> dict[str, Any]:
        """Dumps do not change."""
        raise errors.MethodNotAllowed("a Coredump cannot be changed, only deleted")

    def unknown_fields(self, body: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        """None: no request writes a Coredump."""
        return ()

    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> tuple[dict[str, Any], bool]:
        """(the object as it was, True): the bytes go too. Raises NotFound, Conflict."""
        known, crash = await self._find(namespace, name)
        entry = coredump.make(known.key, crash, known.revision)
        lifecycle.finalizer_of(body)  # checked, but nothing depends on a dump: it goes at once
        lifecycle.check_preconditions(self.kind.plural, entry["metadata"], body)
        if not how.dry_run:
            await self._stored.run(self._stored.store.delete, known.key)
            self._catalog.forget(known.key)
        return entry, True

    async def dumps(
        self, namespace: str, name: str, container: str | None, id: str | None
    ) -> tuple[str, inventory.Found]:
        """(what it is, for messages; the one dump). Raises NotFound."""
        known, crash = await self._find(namespace, name)
        who = f"coredump {namespace}/{name}"
        return who, selection.select([(known.key, crash)], who, container, id)

    async def revision(self) -> int:
        """The catalog's revision, after a look at the store."""
        await self._catalog.refresh(None)
        return self._catalog.revision

    async def shown(self, change: watch_cache.Change) -> dict[str, Any]:
        """What watchers see of a change."""
        return dict(change.obj)

    def matches(self, entry: Mapping[str, Any], wanted: options.List) -> bool:
        """Do the selectors select this object?"""
        meta, status = entry["metadata"], entry["status"]
        fields = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta["namespace"],
            "status.podUID": status.get("podUID") or "",
            "status.podName": status.get("podName") or "",
        }
        return wanted.labels.holds(meta["labels"]) and wanted.fields.holds(fields)

    async def _find(self, namespace: str, name: str) -> tuple[catalog.Known, records.CrashRecord]:
        if _is_namespace(namespace) and naming.is_dns_subdomain(name):
            for at_once in (False, True):
                await self._catalog.refresh(namespace, at_once=at_once)
                known = self._catalog.names(namespace).get(name)
                if known is None:
                    continue
                crashes = await self._stored.run(self._stored.records, [known.key])
                if known.key in crashes:
                    return known, crashes[known.key]
        raise errors.NotFound(f'{self.kind.plural}.{kinds.GROUP} "{name}" not found')

    def _behind(self, namespace: str | None, start: str) -> Sequence[catalog.Known]:
        places = self._catalog.namespaces() if namespace is None else [namespace]
        place_of_start, _, id_of_start = start.partition("/")
        found: Known = []
        for place in places:
            if place < place_of_start:
                continue
            names = self._catalog.names(place)
            ids = sorted(names)
            if place == place_of_start:
                ids = [id for id in ids if id > id_of_start]
            found += [names[id] for id in ids]
        return found

    def _made(self, chunk: Sequence[catalog.Known]) -> Sequence[dict[str, Any]]:
        crashes = self._stored.records([known.key for known in chunk])
        return [
            coredump.make(known.key, crashes[known.key], known.revision)
            for known in chunk
            if known.key in crashes
        ]


def _is_namespace(name: str) -> bool:
    return name == naming.HOST_NAMESPACE or naming.is_dns_label(name)
