"""CoredumpEndpoint: the objects in the engine, with a status computed from the store on read.

Tested in: tests/integration/server/test_endpoints.py
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from coredumpd import errors
from coredumpd.apiserver.machinery import lifecycle, options
from coredumpd.apiserver.rest import lists, watch_cache
from coredumpd.apiserver.rest import resource as resources
from coredumpd.formats import names
from coredumpd.objects import interface
from coredumpd.server import cluster as clusters
from coredumpd.server import kinds
from coredumpd.server.dumps import inventory as inventories
from coredumpd.server.dumps import selection
from coredumpd.server.endpoints import codec, follow, rules, usage
from coredumpd.settings import limits

FIELDS = ("metadata.name", "metadata.namespace", "spec.podUID")
THREADS = 4
_CAS_TRIES_MAX = 5
_T = TypeVar("_T")


class Endpoints:
    """The resource behind the handlers. Every method takes checked names and returns objects."""

    kind = kinds.ENDPOINT
    fields: tuple[str, ...] = FIELDS

    def __init__(
        self,
        engine: interface.Engine,
        inventory: inventories.Inventory,
        cluster: clusters.Cluster,
        bounds: limits.ObjectLimitsSettings,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._inventory = inventory
        self._cluster = cluster
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "objects")
        self.changes = watch_cache.WatchCache()
        self._object_size_max = bounds.objectSize
        self._refused = refused
        self._usage = usage.Usage(bounds, refused)
        self._follower = follow.Follower(
            engine, codec.PREFIX, self.changes, self._usage, bounds.historySize
        )

    def start(self) -> None:
        """Begin to follow the engine. Call on the event loop."""
        self._follower.start()

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The object with its status. Raises NotFound."""
        document = await self.bare(namespace, name)
        return await self._with_status(document, await self._uids_of(namespace, name))

    async def bare(self, namespace: str, name: str) -> dict[str, Any]:
        """The object without a status. Raises NotFound."""
        item = None
        if names.is_dns_label(namespace) and names.is_dns_subdomain(name):
            item = await self._run(self._engine.get, codec.key(namespace, name))
        if item is None:
            raise not_found(name)
        return codec.decode(item.value, item.revision)

    async def pages(self, namespace: str | None, selection: options.List) -> lists.Pages:
        """The objects with their status. Raises BadRequest, Expired, TooLargeResourceVersion."""
        if namespace is not None and not names.is_dns_label(namespace):
            raise errors.BadRequest.about(
                "metadata.namespace", f"{namespace!r} is not a namespace's name"
            )
        prefix = codec.PREFIX if namespace is None else f"{codec.PREFIX}{namespace}/"
        after, revision, selected, last = selection.start, selection.revision, 0, False
        while not last:
            size = selection.limit - selected if selection.limit else 0
            page = await self._run(self._page, prefix, size, after, revision)
            revision = page.revision
            if selection.at_least > revision:
                raise errors.TooLargeResourceVersion(selection.at_least, revision)
            documents = [codec.decode(item.value, item.revision) for item in page.items]
            if selection.filters:
                documents = [one for one in documents if self.matches(one, selection)]
            selected += len(documents)
            after = page.items[-1].key if page.items else after
            last = not page.more or (selection.limit > 0 and selected >= selection.limit)
            meta: dict[str, Any] = {"resourceVersion": str(revision)}
            if page.more:
                meta["continue"] = options.make_token(revision, after)
                if not selection.filters:
                    meta["remainingItemCount"] = page.remaining
            del page  # the bytes, while the status is being looked up
            yield lists.Page(await self._all_with_status(documents), meta, last)

    async def create(
        self, namespace: str, body: Mapping[str, Any], how: options.Write
    ) -> dict[str, Any]:
        """The new object. Raises Invalid, AlreadyExists, BadRequest, Forbidden, Unavailable."""
        rules.check_type(body)
        document = rules.new(namespace, body)
        name = document["metadata"]["name"]
        await self._check_namespace(namespace)
        if document["spec"]["podUID"] is None:
            document["spec"]["podUID"] = await self._uid_of(namespace, name)
        key, value = codec.key(namespace, name), codec.encode(document)
        self._check_size(len(value))
        if how.dry_run:
            if await self._run(self._engine.get, codec.key(namespace, name)) is not None:
                raise _already_exists(name)
            return await self._with_status(document, None)
        size = len(value)
        with self._usage.admit(namespace, name, usage.Amount(1, size), size) as write:
            try:
                revision = await self._run(self._engine.create, key, value)
            except errors.AlreadyExists as error:
                raise _already_exists(name) from error
            write.revision = revision
        document["metadata"]["resourceVersion"] = str(revision)
        return await self._with_status(document, None)

    async def update(
        self, namespace: str, name: str, change: resources.Change, how: options.Write
    ) -> dict[str, Any]:
        """The object after `change`. Raises NotFound, Conflict, Invalid, BadRequest.

        A change that names no resourceVersion is tried again after a conflicting write.
        """
        for _ in range(_CAS_TRIES_MAX):
            old = await self.bare(namespace, name)
            new = rules.replaced(old, await change(old))
            if new == old or how.dry_run:
                return await self._with_status(new, await self._uids_of(namespace, name))
            size = len(codec.encode(new))
            more = usage.Amount(0, self._growth(old, size))
            try:
                with self._usage.admit(namespace, name, more, size) as write:
                    new = await self._write(old, new)
                    write.revision = int(new["metadata"]["resourceVersion"])
            except errors.Conflict:
                continue
            return await self._with_status(new, await self._uids_of(namespace, name))
        raise _busy(name)

    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> tuple[dict[str, Any], bool]:
        """(its last state, whether it is gone). Raises NotFound, Conflict, Invalid."""
        finalizer = lifecycle.finalizer_of(body)
        if not self._cluster.acts_on_finalizers:
            finalizer = None  # it would never be removed
        for _ in range(_CAS_TRIES_MAX):
            old = await self.bare(namespace, name)
            lifecycle.check_preconditions(self.kind.plural, old["metadata"], body)
            waiting = lifecycle.marked_for_deletion(old["metadata"], finalizer)
            new = old if waiting is None else {**old, "metadata": waiting}
            if how.dry_run or (waiting is not None and new == old):
                return new, waiting is None
            try:
                if waiting is not None:
                    return await self._write(old, new), False
                revision = int(old["metadata"]["resourceVersion"])
                await self._run(self._engine.delete, codec.key(namespace, name), revision)
            except errors.Conflict:
                continue  # written meanwhile; look again
            return old, True
        raise _busy(name)

    def matches(self, entry: Mapping[str, Any], wanted: options.List) -> bool:
        """Do the selectors select this object?"""
        meta = entry["metadata"]
        fields = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta["namespace"],
            "spec.podUID": entry["spec"]["podUID"],
        }
        return wanted.labels.holds(meta.get("labels") or {}) and wanted.fields.holds(fields)

    async def dumps(
        self, namespace: str, name: str, container: str | None, id: str | None
    ) -> tuple[str, inventories.Dumps]:
        """(the pod's name for messages, those of its dumps that match). Raises NotFound."""
        pod = codec.pod_of(await self.bare(namespace, name))
        owner = f"pod {namespace}/{name} (uid {pod.uid})"
        dumps = await self._inventory.of_pod(pod)
        return owner, selection.select(dumps, owner, container, id)

    def unknown_fields(self, body: Mapping[str, Any]) -> Sequence[str]:
        """Paths of fields that no CoredumpEndpoint has."""
        return rules.unknown_fields(body)

    async def check(self) -> None:
        """Raises Unavailable or StorageError while the engine does not answer."""
        if not self.changes.open:
            raise errors.Unavailable("changes cannot be watched yet")
        await self._run(self._engine.revision)

    async def revision(self, asked: int = 0, *, expires: bool = True) -> int:
        """See `watch.Source`."""
        now = await self._run(self._engine.check, asked if expires else 0)
        if asked > now:
            raise errors.TooLargeResourceVersion(asked, now)
        return now

    async def shown(self, change: watch_cache.Change) -> dict[str, Any]:
        """A change's object as watchers see it, with its present status."""
        meta = change.obj["metadata"]
        uids = await self._cluster.pod_uids(meta["namespace"])
        return await self._with_status(dict(change.obj), uids)

    def close(self) -> None:
        """Free the engine."""
        self._follower.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    async def _all_with_status(
        self, documents: Sequence[dict[str, Any]]
    ) -> Sequence[dict[str, Any]]:
        uids: dict[str, Mapping[str, str] | None] = {}
        for name in {document["metadata"]["namespace"] for document in documents}:
            uids[name] = await self._cluster.pod_uids(name)
        status = (
            self._with_status(document, uids[document["metadata"]["namespace"]])
            for document in documents
        )
        return await asyncio.gather(*status)

    def _page(self, prefix: str, limit: int, after: str, revision: int) -> interface.Page:
        return self._engine.list(
            prefix, limit=limit, after=after, revision=revision, size_max=lists.PAGE_BYTES
        )

    async def _check_namespace(self, name: str) -> None:
        """Raises NotFound, or Forbidden for a namespace that is being deleted."""
        namespace = await self._cluster.namespace(name, fresh=True)
        if namespace is None:
            raise errors.NotFound(f'namespaces "{name}" not found')
        if namespace.terminating:
            raise errors.Forbidden(
                f"unable to create new content in namespace {name}: it is being terminated"
            )

    async def _uid_of(self, namespace: str, name: str) -> str:
        """The living pod's uid; where that cannot be known, that of its newest dump."""
        try:
            uid = await self._cluster.uid_of(namespace, name)
        except errors.NotFound as error:
            raise rules.no_such_pod(namespace, name) from error
        if uid is None:
            uid = await self._inventory.uid_of(namespace, name)
        if uid is None:
            raise rules.no_such_pod(namespace, name)
        return uid

    async def _with_status(
        self, document: dict[str, Any], uids: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """`uids`: of the living pods, by name; None: that cannot be known."""
        status = inventories.summary(await self._inventory.of_pod(codec.pod_of(document)))
        if uids is not None:
            name = document["metadata"]["name"]
            status["podExists"] = uids.get(name) == document["spec"]["podUID"]
        return {**document, "status": status}

    def _growth(self, old: Mapping[str, Any], size: int) -> int:
        """How many bytes an object of `size` has more than `old`. Raises TooLarge if it may not."""
        growth = max(0, size - len(codec.encode(old)))
        if growth:
            self._check_size(size)
        return growth

    def _check_size(self, size: int) -> None:
        if size > self._object_size_max:
            self._refused("object")
            raise errors.TooLarge(
                f"the object has {size} bytes as JSON; at most {self._object_size_max} are"
                " allowed (objectLimits.objectSize)"
            )

    async def _write(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        """Write `new` over `old`, or delete it if it is terminating and its last finalizer went."""
        meta = new["metadata"]
        key = codec.key(meta["namespace"], meta["name"])
        revision = int(old["metadata"]["resourceVersion"])
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            written = await self._run(self._engine.delete, key, revision)
        else:
            written = await self._run(self._engine.update, key, codec.encode(new), revision)
        return {**new, "metadata": {**meta, "resourceVersion": str(written)}}

    async def _uids_of(self, namespace: str, name: str) -> dict[str, str] | None:
        """The uid by name of this one pod, if it lives; None when that cannot be known."""
        try:
            uid = await self._cluster.uid_of(namespace, name)
        except errors.NotFound:
            return {}
        except errors.Unavailable:
            return None
        return None if uid is None else {name: uid}

    async def _run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def not_found(name: str) -> errors.NotFound:
    """NotFound, worded as kube-apiserver words it."""
    return errors.NotFound(f'{kinds.ENDPOINT.plural}.{kinds.GROUP} "{name}" not found')


def _already_exists(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f'{kinds.ENDPOINT.plural}.{kinds.GROUP} "{name}" already exists')


def _busy(name: str) -> errors.Conflict:
    return errors.Conflict(
        f'Operation cannot be fulfilled on {kinds.ENDPOINT.plural} "{name}": '
        "too many concurrent writes; try again"
    )
