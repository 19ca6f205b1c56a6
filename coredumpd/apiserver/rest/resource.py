"""The HTTP face of a resource: verbs in, objects, lists and tables out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import kind as machinery_kind
from coredumpd.apiserver.machinery import negotiation, options, patches, status, tables
from coredumpd.apiserver.rest import watch
from coredumpd.apiserver.rest import watch_cache as feeds
from coredumpd.server import kinds
from coredumpd.server.endpoints import rules

_GENERATE_TRIES_MAX = 5
_DELETIONS_AT_ONCE = 8
Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # an object → what it should become
Listing = tuple[list[dict[str, Any]], dict[str, Any]]  # objects, and the list's metadata


class Resource(Protocol):
    """What stands behind the handlers; see `endpoints.Endpoints`."""

    kind: machinery_kind.Kind
    fields: tuple[str, ...]
    feed: feeds.Feed

    async def get(self, namespace: str, name: str) -> dict[str, Any]: ...
    async def list(self, namespace: str | None, wanted: options.List) -> Listing: ...
    async def create(
        self, namespace: str, body: Mapping[str, Any], how: options.Write
    ) -> dict[str, Any]: ...
    async def update(
        self, namespace: str, name: str, change: Change, how: options.Write
    ) -> dict[str, Any]: ...
    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> tuple[dict[str, Any], bool]: ...
    async def revision(self) -> int: ...
    async def shown(self, change: feeds.Change) -> dict[str, Any]: ...
    def matches(self, entry: Mapping[str, Any], wanted: options.List) -> bool: ...


class _ResourceHandler(handler.Handler):
    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, resource: Resource
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.resource = resource
        super().initialize(rights)

    def details(self, error: errors.CoredumpdError) -> dict[str, Any]:
        """As kube-apiserver does: what is invalid is a Kind, everything else a resource.

        k8s.io/apimachinery/pkg/api/errors/errors.go: NewInvalid takes a GroupKind, and kubectl
        prints 'The CoredumpEndpoint "x" is invalid'.
        """
        told = super().details(error)
        if isinstance(error, errors.Invalid) and told:
            told["kind"] = self.resource.kind.kind
        return told

    def require(self, verb: str) -> None:
        """Raises MethodNotAllowed for a verb that this kind does not have."""
        if verb not in self.resource.kind.verbs:
            raise errors.MethodNotAllowed(
                f"{verb} is not possible on {self.resource.kind.plural}.{kinds.GROUP}"
            )

    def answer_object(self, entry: Mapping[str, Any], code: int = 200) -> None:
        """One object, as the client wants it shown."""
        kind, version = self.negotiated(tables.OFFERED_FOR_OBJECT)
        if kind == "Table":
            meta = {"resourceVersion": entry["metadata"].get("resourceVersion", "")}
            self.answer(self.table([entry], meta, version), code)
        elif kind:
            self.answer(tables.partial(entry, version), code)
        else:
            self.answer(entry, code)

    def negotiated(self, offered: tuple[str, ...]) -> tuple[str, str]:
        """(kind, version) that Accept asks for."""
        return negotiation.representation(self.request.headers.get("Accept", ""), offered)

    def table(self, entries: list[Any], meta: Mapping[str, Any], version: str) -> dict[str, Any]:
        """The entries as a Table."""
        include = self.query.get("includeObject") or "Metadata"
        return tables.table(self.resource.kind.columns, entries, meta, version, include)

    def checked_body(self, how: options.Write) -> dict[str, Any]:
        """The body; unknown fields are refused, warned about or dropped, as the client chose."""
        body = self.document()
        self.check_fields(body, how)
        return body

    def check_fields(self, body: Mapping[str, Any], how: options.Write) -> None:
        """Refuse unknown fields, warn about them or let them drop, as the client chose."""
        unknown = rules.unknown_fields(body) if how.validation != "Ignore" else []
        if unknown and how.validation == "Strict":
            listed = ", ".join(f'unknown field "{field}"' for field in unknown)
            raise errors.BadRequest(
                f"{self.resource.kind.kind} in version {kinds.VERSION!r} cannot be handled: "
                f"strict decoding error: {listed}",
                tuple(errors.Cause(field, None, "unknown field") for field in unknown),
            )
        for field in unknown:
            told = f"unknown field {field}".encode("ascii", "replace").decode()
            if told.isprintable():
                escaped = told.replace("\\", "\\\\").replace('"', '\\"')
                self.add_header("Warning", f'299 - "{escaped}"')

    def delete_options(self) -> tuple[dict[str, Any], options.Write]:
        """DeleteOptions of body and query; the body wins, as in k8s.io/apiserver."""
        body = self.document() if self.body() else {}
        query = dict(self.query)
        dry_run = body.get("dryRun")
        if dry_run is not None:
            if not isinstance(dry_run, list) or not all(isinstance(name, str) for name in dry_run):
                raise errors.BadRequest.about("dryRun", "dryRun must be a list of strings")
            query["dryRun"] = ",".join(dry_run)
        if "propagationPolicy" in query:
            body.setdefault("propagationPolicy", query["propagationPolicy"])
        return body, options.write(query)


class Collection(_ResourceHandler):
    """`…/<plural>` of one namespace or of all."""

    async def get(self, namespace: str | None = None) -> None:
        """list."""
        if options.flag(self.query, "watch"):
            self.require("watch")
            await watch.Watching(self, self.resource, namespace).run()
            return
        self.require("list")
        wanted = options.list_(self.query, self.resource.fields)
        self.negotiated(tables.OFFERED_FOR_LIST)  # refuse before the work is done
        self.answer_list(*await self.resource.list(namespace, wanted))

    def answer_list(self, entries: list[dict[str, Any]], meta: dict[str, Any]) -> None:
        """A list, as the client wants it shown."""
        kind, version = self.negotiated(tables.OFFERED_FOR_LIST)
        if kind == "Table":
            self.answer(self.table(entries, meta, version))
        elif kind:
            self.answer(tables.partial_list(entries, meta, version))
        else:
            self.answer(
                {
                    "apiVersion": kinds.GROUP_VERSION,
                    "kind": f"{self.resource.kind.kind}List",
                    "metadata": meta,
                    "items": entries,
                }
            )

    async def post(self, namespace: str | None = None) -> None:
        """create."""
        self.require("create")
        if namespace is None:
            raise errors.MethodNotAllowed("an object is created in a namespace")
        how = options.write(self.query)
        body = self.checked_body(how)
        meta = body.get("metadata")
        if isinstance(meta, dict):
            self.about = str(meta.get("name") or meta.get("generateName") or "")
        generated = isinstance(meta, dict) and not meta.get("name") and meta.get("generateName")
        for tries in range(_GENERATE_TRIES_MAX):
            try:
                entry = await self.resource.create(namespace, body, how)
            except errors.AlreadyExists:
                if not generated or tries == _GENERATE_TRIES_MAX - 1:
                    raise
            else:
                return self.answer_object(entry, 201)

    async def delete(self, namespace: str | None = None) -> None:
        """deletecollection: what the selectors select, one by one; answers what it deleted."""
        self.require("deletecollection")
        if namespace is None:
            raise errors.MethodNotAllowed("objects are deleted in one namespace")
        body, how = self.delete_options()
        wanted = options.list_(self.query, self.resource.fields)
        entries, meta = await self.resource.list(namespace, wanted)
        gate = asyncio.Semaphore(_DELETIONS_AT_ONCE)

        async def delete(name: str) -> None:
            async with gate:
                with contextlib.suppress(errors.NotFound):  # gone is what was asked for
                    await self.resource.delete(namespace, name, body, how)

        await asyncio.gather(*(delete(entry["metadata"]["name"]) for entry in entries))
        self.answer_list(entries, meta)


class Object(_ResourceHandler):
    """`…/<plural>/<name>`."""

    async def get(self, namespace: str, name: str) -> None:
        """get."""
        self.require("get")
        self.answer_object(await self.resource.get(namespace, name))

    async def put(self, namespace: str, name: str) -> None:
        """update."""
        self.require("update")
        how = options.write(self.query)
        body = self.checked_body(how)
        meta = body.get("metadata")
        if not isinstance(meta, dict) or not meta.get("name"):
            raise errors.BadRequest.about(
                "metadata.name", "metadata.name is required in the body of an update"
            )
        self.answer_object(await self.resource.update(namespace, name, lambda _: body, how))

    async def patch(self, namespace: str, name: str) -> None:
        """patch."""
        self.require("patch")
        how = options.write(self.query)
        change = patches.parse(self.body(), self.request.headers.get("Content-Type", ""))

        def checked(entry: Mapping[str, Any]) -> Mapping[str, Any]:
            patched = change(entry)
            self.check_fields(patched, how)
            return patched

        self.answer_object(await self.resource.update(namespace, name, checked, how))

    async def delete(self, namespace: str, name: str) -> None:
        """delete: a Status once the object is gone, the object while finalizers hold it."""
        self.require("delete")
        body, how = self.delete_options()
        entry, gone = await self.resource.delete(namespace, name, body, how)
        if not gone:
            return self.answer_object(entry)
        details = {
            "name": name,
            "group": kinds.GROUP,
            "kind": self.resource.kind.plural,
            "uid": entry["metadata"]["uid"],
        }
        self.answer(status.success(details))


def routes(resource: Resource) -> list[application.Route]:
    """The routes of one kind, subresources aside."""
    plural = resource.kind.plural
    arguments = {"resource": resource}
    demanded = rights.Resource(kinds.GROUP, kinds.VERSION, plural)
    place = rf"{kinds.BASE}/namespaces/(?P<namespace>[^/]+)/{plural}"
    return [
        application.Route(rf"{kinds.BASE}/{plural}", Collection, demanded, arguments),
        application.Route(place, Collection, demanded, arguments),
        application.Route(rf"{place}/(?P<name>[^/]+)", Object, demanded, arguments),
    ]
