"""Every operation of the API as data, from which both OpenAPI documents are written. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from coredumpd.apiserver.machinery import kind as kinds


@dataclasses.dataclass(frozen=True)
class Operation:
    """One method of one path.

    `answer` is the kind of the object it answers, "" for bytes of the media type `produces`.
    `takes` is the kind of the body, which comes in one of the media types `consumes`.
    """

    method: str
    path: str
    verb: str
    kind: kinds.Kind
    answer: str
    id: str
    doc: str
    parameters: tuple[kinds.Parameter, ...]
    takes: str = ""
    consumes: tuple[str, ...] = ()
    codes: tuple[int, ...] = (200,)
    produces: str = "application/json"


_query = kinds.Parameter
_NAMESPACE = kinds.Parameter("namespace", "The namespace.", place="path")
_NAME = kinds.Parameter("name", "The object's name.", place="path")
_DRY_RUN = _query("dryRun", "All: check, but change nothing.")
_MANAGER = _query("fieldManager", "The writer's name. Not kept.")
_VALIDATION = _query("fieldValidation", "Unknown fields: Strict, Warn or Ignore.")
_WRITE = (_DRY_RUN, _MANAGER, _VALIDATION)
_DELETE = (
    _DRY_RUN,
    _query("gracePeriodSeconds", "Not used.", "integer"),
    _query("orphanDependents", "Not used.", "boolean"),
    _query("propagationPolicy", "Not used."),
)
_SELECT = (
    _query("labelSelector", "Only objects with these labels."),
    _query("fieldSelector", "Only objects with these fields."),
    _query("limit", "At most this many objects.", "integer"),
    _query("continue", "The next page: metadata.continue of the last one."),
    _query("resourceVersion", "The revision to list, or to watch from."),
    _query("resourceVersionMatch", "Exact or NotOlderThan."),
    _query("timeoutSeconds", "End a watch after this time.", "integer"),
)
_WATCH = (
    _query("watch", "Send changes instead of a list.", "boolean"),
    _query("allowWatchBookmarks", "Send BOOKMARK events.", "boolean"),
    _query("sendInitialEvents", "Begin with the existing objects.", "boolean"),
)
_BODY = ("application/json", "application/yaml")
PATCHES = ("application/json-patch+json", "application/merge-patch+json")


def of(group: kinds.Group) -> Iterator[Operation]:
    """The operations that the verbs of the group's kinds allow, and no others."""
    for kind in group.kinds:
        collection = f"{group.path}/namespaces/{{namespace}}/{kind.plural}"
        yield from _collection(kind, f"{group.path}/{kind.plural}", collection)
        yield from _object(kind, f"{collection}/{{name}}")


def _collection(kind: kinds.Kind, everywhere: str, path: str) -> Iterator[Operation]:
    one, many = kind.kind, f"{kind.kind}List"
    verbs = set(kind.verbs)
    watch = _WATCH if "watch" in verbs else ()
    here = (_NAMESPACE,)
    if "list" in verbs:
        doc = f"list {one} objects"
        yield Operation(
            "get", everywhere, "list", kind, many, f"list{one}ForAllNamespaces", doc,
            (*_SELECT, *watch),
        )  # fmt: skip
        yield Operation(
            "get", path, "list", kind, many, f"listNamespaced{one}", doc,
            (*here, *_SELECT, *watch),
        )  # fmt: skip
    if "create" in verbs:
        yield Operation(
            "post", path, "post", kind, one, f"createNamespaced{one}", f"create a {one}",
            (*here, *_WRITE), one, _BODY, (200, 201, 202),
        )  # fmt: skip
    if "deletecollection" in verbs:
        yield Operation(
            "delete", path, "deletecollection", kind, "Status", f"deleteCollectionNamespaced{one}",
            f"delete {one} objects", (*here, *_SELECT, *_DELETE), "DeleteOptions", _BODY,
        )  # fmt: skip


def _object(kind: kinds.Kind, path: str) -> Iterator[Operation]:
    one, verbs = kind.kind, set(kind.verbs)
    named = (_NAMESPACE, _NAME)
    if "get" in verbs:
        yield Operation(
            "get", path, "get", kind, one, f"readNamespaced{one}", f"read a {one}", named
        )  # fmt: skip
    if "update" in verbs:
        yield Operation(
            "put", path, "put", kind, one, f"replaceNamespaced{one}", f"replace a {one}",
            (*named, *_WRITE), one, _BODY, (200, 201),
        )  # fmt: skip
    if "patch" in verbs:
        yield Operation(
            "patch", path, "patch", kind, one, f"patchNamespaced{one}", f"patch a {one}",
            (*named, *_WRITE), "Patch", PATCHES, (200, 201),
        )  # fmt: skip
    if "delete" in verbs:
        yield Operation(
            "delete", path, "delete", kind, "Status", f"deleteNamespaced{one}", f"delete a {one}",
            (*named, *_DELETE), "DeleteOptions", _BODY, (200, 202),
        )  # fmt: skip
    for subresource in kind.subresources:
        yield Operation(
            "get", f"{path}/{subresource.name}", "connect", kind, "",
            f"readNamespaced{one}{subresource.name.title()}", subresource.doc,
            (*named, *subresource.parameters), produces=subresource.produces,
        )  # fmt: skip
