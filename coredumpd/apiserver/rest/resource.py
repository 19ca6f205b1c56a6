"""The verbs of a resource over HTTP, answered with objects, lists and tables.

Tested in: tests/integration/server/test_writes.py
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.apiserver.machinery import kind as kinds
from coredumpd.apiserver.machinery import negotiation, options, patches, status, tables, warnings
from coredumpd.apiserver.rest import lists, outgoing, watch

_GENERATE_TRIES_MAX = 5
_FIELDS_MAX = 50  # named in one message
_DELETIONS_AT_ONCE = 8
# An object → what it should become.
Change = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Resource(watch.Source, Protocol):
    """The objects of one kind, behind the handlers. Raises errors of `coredumpd.errors`."""

    async def get(self, namespace: str, name: str) -> dict[str, Any]: ...
    async def create(
        self, namespace: str, body: Mapping[str, Any], how: options.Write
    ) -> dict[str, Any]: ...
    async def update(
        self, namespace: str, name: str, change: Change, how: options.Write
    ) -> dict[str, Any]: ...
    async def delete(
        self, namespace: str, name: str, body: Mapping[str, Any], how: options.Write
    ) -> tuple[dict[str, Any], bool]:
        """(the object as it was last, is it gone)."""

    def unknown_fields(self, body: Mapping[str, Any]) -> Sequence[str]:
        """Paths of fields in `body` that the kind does not have."""


class _ResourceHandler(handler.Handler):
    def initialize(  # type: ignore[override]
        self,
        rights: rights.Rights,
        group: kinds.Group,
        resource: Resource,
        room: outgoing.Outgoing,
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.group = group
        self.resource = resource
        self.room = room
        super().initialize(rights)

    def details(self, error: errors.CoredumpdError) -> dict[str, Any]:
        """As kube-apiserver does: `kind` is the Kind in an Invalid, the resource in all others.

        k8s.io/apimachinery/pkg/api/errors/errors.go: NewInvalid takes a GroupKind, and kubectl
        prints 'The CoredumpEndpoint "x" is invalid'.
        """
        if isinstance(error, errors.InvalidOptions):
            return {"group": "meta.k8s.io", "kind": "ListOptions"}
        details = super().details(error)
        if isinstance(error, errors.Invalid) and details:
            details["kind"] = self.resource.kind.kind
        return details

    def require(self, verb: str) -> None:
        """Raises MethodNotAllowed for a verb that this kind does not have."""
        if verb not in self.resource.kind.verbs:
            raise errors.MethodNotAllowed(
                f"{verb} is not possible on {self.resource.kind.plural}.{self.group.name}"
            )

    def answer_object(self, obj: Mapping[str, Any], code: int = 200) -> None:
        """One object, in the representation that the client asks for."""
        kind, version = self.negotiated(tables.OFFERED_FOR_OBJECT)
        if kind == "Table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            self.answer(self.table([obj], meta, version), code)
        elif kind:
            self.answer(tables.partial(obj, version), code)
        else:
            self.answer(obj, code)

    def negotiated(self, offered: tuple[str, ...]) -> tuple[str, str]:
        """(kind, version) that Accept asks for."""
        return negotiation.representation(self.request.headers.get("Accept", ""), offered)

    def table(
        self, objects: Sequence[Any], meta: Mapping[str, Any], version: str
    ) -> dict[str, Any]:
        """The objects as a Table."""
        include = self.query.get("includeObject") or "Metadata"
        return tables.table(self.resource.kind.columns, objects, meta, version, include)

    async def checked_body(self, how: options.Write) -> dict[str, Any]:
        """The body, after `check_fields`."""
        body = await self.document()
        self.check_fields(body, how)
        return body

    def check_fields(self, body: Mapping[str, Any], how: options.Write) -> None:
        """Refuse unknown fields, warn about them or ignore them, as the client asks."""
        unknown = self.resource.unknown_fields(body) if how.validation != "Ignore" else []
        if unknown and how.validation == "Strict":
            listed = ", ".join(f'unknown field "{field}"' for field in unknown[:_FIELDS_MAX])
            raise errors.BadRequest(
                f"{self.resource.kind.kind} in version {self.group.version!r} cannot be handled: "
                f"strict decoding error: {listed}",
                tuple(errors.Cause(field, None, "unknown field") for field in unknown),
            )
        for value in warnings.headers(f"unknown field {field}" for field in unknown):
            self.add_header("Warning", value)

    async def delete_options(self) -> tuple[dict[str, Any], options.Write]:
        """DeleteOptions of body and query; the body wins, as in k8s.io/apiserver."""
        body = await self.document() if self.body() else {}
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
    """`…/<plural>` of one namespace or of all. A watch has a place of each kind while it begins."""

    async def get(self, namespace: str | None = None) -> None:
        """List the objects, or watch them."""
        if options.flag(self.query, "watch"):
            self.require("watch")
            self.hold("watch")
            stream = watch.Stream(
                self, self.resource, self.group.group_version, namespace, self.room
            )
            await stream.run()
            return
        self.require("list")
        selection = options.list_(self.query, self.resource.fields)
        await self.answer_list(self.resource.pages(namespace, selection))

    async def answer_list(self, pages: lists.Pages) -> None:
        """A list, in the representation that the client asks for. Raises NotAcceptable."""
        kind, version = self.negotiated(tables.OFFERED_FOR_LIST)

        def shape(objects: Sequence[dict[str, Any]], meta: Mapping[str, Any]) -> Mapping[str, Any]:
            if kind == "Table":
                return self.table(objects, meta, version)
            if kind:
                return tables.partial_list(objects, meta, version)
            return {
                "apiVersion": self.group.group_version,
                "kind": f"{self.resource.kind.kind}List",
                "metadata": meta,
                "items": objects,
            }

        field = "rows" if kind == "Table" else "items"
        await lists.send(self, pages, shape, field, self.room)

    async def post(self, namespace: str | None = None) -> None:
        """Create an object."""
        self.require("create")
        if namespace is None:
            raise errors.MethodNotAllowed("an object is created in a namespace")
        how = options.write(self.query)
        body = await self.checked_body(how)
        meta = body.get("metadata")
        if isinstance(meta, dict):
            self.object_name = str(meta.get("name") or meta.get("generateName") or "")
        generated = isinstance(meta, dict) and not meta.get("name") and meta.get("generateName")
        for tries in range(_GENERATE_TRIES_MAX):
            try:
                obj = await self.resource.create(namespace, body, how)
            except errors.AlreadyExists:
                if not generated or tries == _GENERATE_TRIES_MAX - 1:
                    raise
            else:
                return self.answer_object(obj, 201)

    async def delete(self, namespace: str | None = None) -> None:
        """Delete the selected objects one by one (deletecollection); answers with their list."""
        self.require("deletecollection")
        if namespace is None:
            raise errors.MethodNotAllowed("objects are deleted in one namespace")
        body, how = await self.delete_options()
        selection = options.list_(self.query, self.resource.fields)
        await self.answer_list(self._deleted(namespace, selection, body, how))

    async def _deleted(
        self,
        namespace: str,
        selection: options.List,
        body: Mapping[str, Any],
        how: options.Write,
    ) -> lists.Pages:
        """Delete the objects that are selected now, some at a time; they come when they are gone.

        Only names and uids of all are held. The objects are not listed on the way, since many
        deletions may push the state in which they were selected out of the history.
        """
        selected: list[tuple[str, str]] = []
        meta: Mapping[str, Any] = {}
        async with contextlib.aclosing(self.resource.pages(namespace, selection)) as pages:
            async for page in pages:
                metadata = (obj["metadata"] for obj in page.objects)
                selected += [(one["name"], one["uid"]) for one in metadata]
                meta = page.meta

        async def delete(name: str, uid: str) -> dict[str, Any] | None:
            ours = not body.get("preconditions")
            own = {**body, "preconditions": {"uid": uid}} if ours else body
            try:
                obj, _ = await self.resource.delete(namespace, name, own, how)
            except errors.NotFound:
                return None  # deleted meanwhile
            except errors.Conflict as error:
                if ours and [cause.field for cause in error.causes] == ["preconditions.uid"]:
                    return None  # deleted and made anew meanwhile
                raise
            return obj

        for start in range(0, max(1, len(selected)), _DELETIONS_AT_ONCE):
            some = selected[start : start + _DELETIONS_AT_ONCE]
            objects = await asyncio.gather(*(delete(*one) for one in some))
            last = start + _DELETIONS_AT_ONCE >= len(selected)
            yield lists.Page([obj for obj in objects if obj is not None], meta, last)


class Object(_ResourceHandler):
    """`…/<plural>/<name>`."""

    async def get(self, namespace: str, name: str) -> None:
        """Get the object."""
        self.require("get")
        at_least = options.revision_of(self.query)
        if at_least:
            await self.resource.revision(at_least, expires=False)
        self.answer_object(await self.resource.get(namespace, name))

    async def put(self, namespace: str, name: str) -> None:
        """Replace the object."""
        self.require("update")
        how = options.write(self.query)
        body = await self.checked_body(how)
        meta = body.get("metadata")
        if not isinstance(meta, dict) or not meta.get("name"):
            raise errors.BadRequest.about(
                "metadata.name", "metadata.name is required in the body of an update"
            )

        async def replaced(_: Mapping[str, Any]) -> Mapping[str, Any]:
            return body

        self.answer_object(await self.resource.update(namespace, name, replaced, how))

    async def patch(self, namespace: str, name: str) -> None:
        """Patch the object."""
        self.require("patch")
        how = options.write(self.query)
        content_type = self.request.headers.get("Content-Type", "")
        change = await self.computed(patches.parse, self.body(), content_type)

        async def checked(obj: Mapping[str, Any]) -> Mapping[str, Any]:
            patched = await self.computed(change, obj)
            self.check_fields(patched, how)
            return patched

        self.answer_object(await self.resource.update(namespace, name, checked, how))

    async def delete(self, namespace: str, name: str) -> None:
        """Delete the object: answers a Status if it is gone, itself while finalizers hold it."""
        self.require("delete")
        body, how = await self.delete_options()
        obj, gone = await self.resource.delete(namespace, name, body, how)
        if not gone:
            return self.answer_object(obj)
        details = {
            "name": name,
            "group": self.group.name,
            "kind": self.resource.kind.plural,
            "uid": obj["metadata"]["uid"],
        }
        self.answer(status.success(details))


def routes(
    group: kinds.Group, resource: Resource, room: outgoing.Outgoing
) -> list[application.Route]:
    """The routes of one kind, subresources aside. Lists and watches send through `room`."""
    plural = resource.kind.plural
    arguments = {"group": group, "resource": resource, "room": room}
    demanded = rights.Resource(group.name, group.version, plural)
    place = rf"{group.path}/namespaces/(?P<namespace>[^/]+)/{plural}"
    return [
        application.Route(rf"{group.path}/{plural}", Collection, demanded, arguments),
        application.Route(place, Collection, demanded, arguments),
        application.Route(rf"{place}/(?P<name>[^/]+)", Object, demanded, arguments),
    ]
