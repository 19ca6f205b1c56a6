"""Every operation of the API as data, from which both OpenAPI documents are written. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from coredumpd.apiserver.machinery import kind as machinery_kind
from coredumpd.server import kinds


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A query or path parameter. `type` is string, integer or boolean."""

    name: str
    place: str
    type: str
    doc: str


@dataclasses.dataclass(frozen=True)
class Operation:
    """One method of one path. `answer` "Status" and "archive" stand for themselves."""

    method: str
    path: str
    verb: str
    kind: machinery_kind.Kind
    answer: str
    id: str
    doc: str
    parameters: tuple[Parameter, ...]
    takes: str = ""  # the kind of the body
    consumes: tuple[str, ...] = ()
    codes: tuple[int, ...] = (200,)


def _query(name: str, doc: str, type: str = "string") -> Parameter:
    return Parameter(name, "query", type, doc)


_NAMESPACE = Parameter("namespace", "path", "string", "The namespace.")
_NAME = Parameter("name", "path", "string", "The object's name.")
_DRY_RUN = _query("dryRun", "All: check, but change nothing.")
_MANAGER = _query("fieldManager", "Who writes. Not kept.")
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
    _query("limit", "At most so many.", "integer"),
    _query("continue", "The next page: metadata.continue of the last one."),
    _query("resourceVersion", "The revision wanted."),
    _query("resourceVersionMatch", "Exact or NotOlderThan."),
    _query("timeoutSeconds", "End a watch after so long.", "integer"),
)
_WATCH = (
    _query("watch", "Tell changes instead of listing.", "boolean"),
    _query("allowWatchBookmarks", "Send BOOKMARK events.", "boolean"),
    _query("sendInitialEvents", "Begin with what is there.", "boolean"),
)
_DOWNLOAD = (
    _query("container", "Only dumps of this container."),
    _query("id", "Only this dump."),
    _query("offset", "From this byte of the archive on.", "integer"),
)
_BODY = ("application/json", "application/yaml")
PATCHES = ("application/json-patch+json", "application/merge-patch+json")


def of(kind: machinery_kind.Kind) -> Iterator[Operation]:
    """What the verbs of `kind` make possible; nothing that they do not."""
    place = f"{kinds.BASE}/namespaces/{{namespace}}/{kind.plural}"
    one, many = kind.kind, f"{kind.kind}List"
    verbs = set(kind.verbs)
    watch = _WATCH if "watch" in verbs else ()
    here, named = (_NAMESPACE,), (_NAMESPACE, _NAME)
    if "list" in verbs:
        everywhere, doc = f"{kinds.BASE}/{kind.plural}", f"list {one} objects"
        yield Operation(
            "get", everywhere, "list", kind, many, f"list{one}ForAllNamespaces", doc,
            (*_SELECT, *watch),
        )  # fmt: skip
        yield Operation(
            "get", place, "list", kind, many, f"listNamespaced{one}", doc,
            (*here, *_SELECT, *watch),
        )  # fmt: skip
    if "create" in verbs:
        yield Operation(
            "post", place, "post", kind, one, f"createNamespaced{one}", f"create a {one}",
            (*here, *_WRITE), one, _BODY, (200, 201, 202),
        )  # fmt: skip
    if "deletecollection" in verbs:
        yield Operation(
            "delete", place, "deletecollection", kind, "Status", f"deleteCollectionNamespaced{one}",
            f"delete {one} objects", (*here, *_SELECT, *_DELETE), "DeleteOptions", _BODY,
        )  # fmt: skip
    path = f"{place}/{{name}}"
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
        download = subresource.name in ("dump", "proxy")
        yield Operation(
            "get", f"{path}/{subresource.name}", "connect", kind,
            "archive" if download else "text",
            f"readNamespaced{one}{subresource.name.title()}", subresource.doc,
            (*named, *(_DOWNLOAD if download else ())),
        )  # fmt: skip
