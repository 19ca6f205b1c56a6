"""CoredumpEndpoint: the objects in the engine, with a status computed from the store on read."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from coredumpd import errors, objects, record
from coredumpd.server import cluster, inventory, kinds
from coredumpd.server import endpoint_rules as rules
from coredumpd.web import metadata, options

PREFIX = f"/{kinds.ENDPOINT.plural}/"
FIELDS = ("metadata.name", "metadata.namespace", "spec.podUID")
THREADS = 4
PAGE = 500
_CAS_TRIES_MAX = 5
_SUFFIX_CHARS = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, no lookalikes
_T = TypeVar("_T")
Listing = tuple[list[dict[str, Any]], dict[str, Any]]  # objects, and the list's metadata


class Endpoints:
    """The resource behind the handlers. Every method takes checked names and returns objects."""

    kind = kinds.ENDPOINT
    fields: tuple[str, ...] = FIELDS

    def __init__(
        self, engine: objects.Engine, stored: inventory.Inventory, about: cluster.Cluster
    ) -> None:
        self._engine = engine
        self._stored = stored
        self._cluster = about
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "objects")

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The object with its status. Raises NotFound."""
        entry = await self.bare(namespace, name)
        uids = None
        try:
            uid = await self._cluster.pod_uid(namespace, name)
            uids = {} if uid is None else {name: uid}
        except errors.Unavailable:
            pass  # status.podExists is left out: unknown is not "no"
        if isinstance(self._cluster, cluster.NoCluster):
            uids = None
        return await self._with_status(entry, uids)

    async def bare(self, namespace: str, name: str) -> dict[str, Any]:
        """The object without a status. Raises NotFound."""
        item = None
        if record.is_dns_label(namespace) and record.is_dns_subdomain(name):
            item = await self._run(self._engine.get, _key(namespace, name))
        if item is None:
            raise not_found(name)
        return _decode(item)

    async def list(self, namespace: str | None, wanted: options.List) -> Listing:
        """The objects with their status."""
        if namespace is not None and not record.is_dns_label(namespace):
            raise errors.BadRequest(f"{namespace!r} is not a namespace's name")
        found, meta = await self._select(namespace, wanted)
        uids: dict[str, dict[str, str] | None] = {}
        for place in {entry["metadata"]["namespace"] for entry in found}:
            uids[place] = await self._cluster.pod_uids(place)
        status = (self._with_status(entry, uids[entry["metadata"]["namespace"]]) for entry in found)
        return [*await asyncio.gather(*status)], meta

    async def create(
        self, namespace: str, body: Mapping[str, Any], how: options.Write
    ) -> dict[str, Any]:
        """The new object. Raises Invalid, AlreadyExists, BadRequest, Forbidden, Unavailable."""
        rules.check_type(body)
        entry = _new(namespace, body)
        name = entry["metadata"]["name"]
        await self._cluster.check_namespace(namespace)
        if entry["spec"]["podUID"] is None:
            entry["spec"]["podUID"] = await self._uid_of(namespace, name)
        if how.dry_run:
            if await self._run(self._engine.get, _key(namespace, name)) is not None:
                raise _already_exists(name)
            return await self._with_status(entry, None)
        try:
            value = _encode(entry)
            revision = await self._run(self._engine.create, _key(namespace, name), value)
        except errors.AlreadyExists as error:
            raise _already_exists(name) from error
        entry["metadata"]["resourceVersion"] = str(revision)
        return await self._with_status(entry, None)

    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> dict[str, Any]:
        """The object as it was last. Raises NotFound, or Conflict for a failed precondition."""
        for _ in range(_CAS_TRIES_MAX):
            entry = await self.bare(namespace, name)
            _check_preconditions(entry, body)
            if how.dry_run:
                return entry
            revision = int(entry["metadata"]["resourceVersion"])
            try:
                await self._run(self._engine.delete, _key(namespace, name), revision)
            except errors.Conflict:
                continue  # somebody else wrote in between; look again
            return entry
        raise errors.Conflict(f'{kinds.ENDPOINT.plural} "{name}" is being written too often')

    async def dumps(
        self, namespace: str, name: str, container: str | None, id: str | None
    ) -> tuple[str, inventory.Found]:
        """(who they belong to, for messages; the dumps asked for). Raises NotFound."""
        entry = await self.bare(namespace, name)
        pod = _pod(entry)
        found = await self._stored.of_pod(pod)
        who = f"pod {namespace}/{name} (uid {pod.uid})"
        return who, choose(found, who, container, id)

    async def check(self) -> None:
        """Raises Unavailable or StorageError while the engine does not answer."""
        await self._run(self._engine.revision)

    def close(self) -> None:
        """Free the engine."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    async def _select(self, namespace: str | None, wanted: options.List) -> Listing:
        prefix = PREFIX if namespace is None else f"{PREFIX}{namespace}/"
        after, revision = wanted.start, wanted.revision
        filters = bool(wanted.labels.requirements or wanted.fields.requirements)
        found: list[dict[str, Any]] = []
        while True:
            size = min(PAGE, wanted.limit - len(found)) if wanted.limit else PAGE
            page = await self._run(self._page, prefix, size, after, revision)
            revision = page.revision
            for item in page.items:
                entry = _decode(item)
                if not filters or matches(entry, wanted):
                    found.append(entry)
            if page.items:
                after = page.items[-1].key
            if not page.remaining or (wanted.limit and len(found) >= wanted.limit):
                break
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if page.remaining:
            meta["continue"] = options.make_token(revision, after)
            if not filters:
                meta["remainingItemCount"] = page.remaining
        return found, meta

    def _page(self, prefix: str, limit: int, after: str, revision: int) -> objects.Page:
        return self._engine.list(prefix, limit=limit, after=after, revision=revision)

    async def _uid_of(self, namespace: str, name: str) -> str:
        uid = await self._cluster.pod_uid(namespace, name)
        if uid is None and isinstance(self._cluster, cluster.NoCluster):
            uid = await self._stored.uid_of(namespace, name)
        if uid is None:
            raise rules.no_such_pod(namespace, name)
        return uid

    async def _with_status(
        self, entry: dict[str, Any], uids: Mapping[str, str] | None
    ) -> dict[str, Any]:
        status = inventory.summary(await self._stored.of_pod(_pod(entry)))
        if uids is not None:
            meta = entry["metadata"]
            status["podExists"] = uids.get(meta["name"]) == entry["spec"]["podUID"]
        return {**entry, "status": status}

    async def _run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def choose(
    found: inventory.Found, who: str, container: str | None, id: str | None
) -> inventory.Found:
    """The dumps of a container, or the one with an id. Raises NotFound that says what there is."""
    if not found:
        raise errors.NotFound(f"no core dump of {who} is stored")
    chosen = found
    if container is not None:
        chosen = [pair for pair in chosen if pair[0].container == container]
        if not chosen:
            there = ", ".join(sorted({key.container for key, _ in found}))
            raise errors.NotFound(
                f"no core dump of container {container!r} of {who}; containers with dumps: {there}"
            )
    if id is not None:
        chosen = [pair for pair in chosen if pair[0].id == id]
        if not chosen:
            raise errors.NotFound(f"no core dump {id!r} of {who}")
    return chosen


def not_found(name: str) -> errors.NotFound:
    """NotFound, worded as kube-apiserver words it."""
    return errors.NotFound(f'{kinds.ENDPOINT.plural}.{kinds.GROUP} "{name}" not found')


def matches(entry: Mapping[str, Any], wanted: options.List) -> bool:
    """Do the selectors select this object?"""
    meta = entry["metadata"]
    fields = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "spec.podUID": entry["spec"]["podUID"],
    }
    return wanted.labels.holds(meta.get("labels") or {}) and wanted.fields.holds(fields)


def _new(namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The object a create makes; its podUID may still be None. Raises Invalid, BadRequest."""
    causes = rules.problems(body)
    meta = body.get("metadata") if isinstance(body.get("metadata"), Mapping) else {}
    assert isinstance(meta, Mapping)  # noqa: S101 (for mypy)
    name = meta.get("name") or ""
    if not name and isinstance(meta.get("generateName"), str) and meta["generateName"]:
        suffix = "".join(secrets.choice(_SUFFIX_CHARS) for _ in range(5))
        name = meta["generateName"][:248] + suffix
    if not name:
        causes.append(errors.Cause("metadata.name", None, "is required, or generateName"))
    elif isinstance(name, str) and (cause := metadata.name_problem(name)):
        causes.append(cause)
    if not record.is_dns_label(namespace):
        causes.append(errors.Cause("metadata.namespace", namespace, "must be a DNS label"))
    if causes:
        raise rules.invalid(str(name), tuple(causes))
    if meta.get("namespace") not in (None, "", namespace):
        raise errors.BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if meta.get("resourceVersion"):
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = {
        "name": name,
        "namespace": namespace,
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": now,
    }
    kept = ("generateName", "labels", "annotations", "ownerReferences", "finalizers")
    made |= {field: meta[field] for field in kept if meta.get(field)}
    return {
        "apiVersion": kinds.GROUP_VERSION,
        "kind": kinds.ENDPOINT.kind,
        "metadata": made,
        "spec": {"podUID": rules.pod_uid(body)},
    }


def _check_preconditions(entry: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    wanted = body.get("preconditions") or {}
    if not isinstance(wanted, Mapping):
        raise errors.BadRequest("preconditions must be a mapping")
    meta = entry["metadata"]
    for field in ("uid", "resourceVersion"):
        value = wanted.get(field)
        if value is not None and value != meta[field]:
            raise errors.Conflict(
                f'Operation cannot be fulfilled on {kinds.ENDPOINT.plural} "{meta["name"]}": '
                f"Precondition failed: {field} in precondition: {value}, "
                f"{field} in object meta: {meta[field]}"
            )


def _already_exists(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f'{kinds.ENDPOINT.plural}.{kinds.GROUP} "{name}" already exists')


def _pod(entry: Mapping[str, Any]) -> inventory.Pod:
    meta = entry["metadata"]
    return inventory.Pod(meta["namespace"], meta["name"], entry["spec"]["podUID"])


def _key(namespace: str, name: str) -> str:
    return f"{PREFIX}{namespace}/{name}"


def _encode(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def _decode(item: objects.Item) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(item.value)
    entry["metadata"]["resourceVersion"] = str(item.revision)
    return entry
