"""The fields of our kinds as JSON schemas: what `kubectl explain` prints and validation checks."""

from __future__ import annotations

from typing import Any

from coredumpd.apiserver.machinery import kind as kind_module
from coredumpd.formats import record as records
from coredumpd.server import kinds

PREFIX = kinds.API_GROUP.schema_prefix
META = f"{PREFIX}.meta"  # our own copy: the merged document must not have two of one name
Schema = dict[str, Any]


def text(doc: str, **more: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": doc, **more}


def whole(doc: str) -> Schema:
    """A 64-bit integer."""
    return {"type": "integer", "format": "int64", "description": doc}


def obj(doc: str, properties: Schema, **more: Any) -> Schema:
    """An object."""
    return {"type": "object", "description": doc, "properties": properties, **more}


def listed(doc: str, items: Schema) -> Schema:
    """An array."""
    return {"type": "array", "description": doc, "items": items}


def ref(name: str, doc: str = "") -> Schema:
    """A reference, rewritten to its place in each OpenAPI version."""
    return {"$ref": name, "description": doc} if doc else {"$ref": name}


_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME = {"type": "string", "format": "date-time"}

_OWNER = obj(
    "The object that owns this one; when the last owner goes, this one goes.",
    {
        "apiVersion": text("API version of the owner."),
        "kind": text("Kind of the owner."),
        "name": text("Name of the owner."),
        "uid": text("UID of the owner."),
        "controller": {"type": "boolean", "description": "Is it the managing controller?"},
        "blockOwnerDeletion": {"type": "boolean", "description": "Does it wait for this one?"},
    },
    required=["apiVersion", "kind", "name", "uid"],
)

_OBJECT_META = obj(
    "Standard object's metadata.",
    {
        "name": text("The pod's name. Unique in the namespace."),
        "generateName": text("A prefix; the server appends a random suffix."),
        "namespace": text("The pod's namespace."),
        "uid": text("Set by the server."),
        "resourceVersion": text("Changes with every write; a compare-and-swap token."),
        "generation": whole("Counts changes of the spec."),
        "creationTimestamp": {**_TIME, "description": "Set by the server."},
        "deletionTimestamp": {**_TIME, "description": "When deletion was asked for."},
        "deletionGracePeriodSeconds": whole("Not used."),
        "labels": {**_STRINGS, "description": "For selection."},
        "annotations": {**_STRINGS, "description": "For tools."},
        "ownerReferences": listed("Objects this one depends on.", ref(f"{META}.OwnerReference")),
        "finalizers": listed("Must be empty before the object goes.", {"type": "string"}),
        "managedFields": listed("Not kept.", {"type": "object"}),
        "selfLink": text("Not kept."),
    },
)

_LIST_META = obj(
    "Standard list's metadata.",
    {
        "resourceVersion": text("The revision the list is of."),
        "continue": text("Ask again with it for the next page."),
        "remainingItemCount": whole("How many follow."),
        "selfLink": text("Not kept."),
    },
)

_STATUS = obj(
    "The outcome of a request.",
    {
        "apiVersion": text("v1"),
        "kind": text("Status"),
        "metadata": ref(f"{META}.ListMeta"),
        "status": text("Success or Failure."),
        "message": text("For people."),
        "reason": text("For programs."),
        "details": {"type": "object", "description": "name, kind, causes."},
        "code": {"type": "integer", "format": "int32", "description": "The HTTP status."},
    },
)

_CONTAINER = obj(
    "A container of the pod with stored dumps.",
    {"name": text("The container's name."), "dumps": whole("How many are stored.")},
)

_ENDPOINT_SPEC = obj(
    "Which pod's core dumps this is the door to.",
    {
        "podUID": text(
            "The pod's uid. Left out, the living pod of this name supplies it; a deleted pod's "
            "must be given. Immutable once set."
        ),
        "poduid": text("An older spelling of podUID, accepted on input."),
    },
)

_ENDPOINT_STATUS = obj(
    "What is stored for the pod, computed when it is read.",
    {
        "dumps": whole("How many dumps are stored."),
        "bytes": whole("How many bytes they take in the store."),
        "lastCrash": {**_TIME, "description": "When the newest dump was taken."},
        "containers": listed("Containers that have dumps.", ref(f"{PREFIX}.Container")),
        "podExists": {
            "type": "boolean",
            "description": "Does that very pod live? Left out when Kubernetes cannot be asked.",
        },
    },
)


# Of a record: the fields that a Coredump does not repeat or does not show, and those that are
# schemas with a name of their own.
_NOT_IN_STATUS = ("version", "id", "namespace", "crashLoop.folded")
_PARTS = {"process": "Process", "core": "Core"}


def _record_schema(path: str, doc: str) -> Schema:
    """The object at `path` in a record, "" for all of it, from the record's field table."""
    properties = {}
    for field, kind, _, _, meaning in records.FIELDS:
        above, _, name = field.rpartition(".")
        if above == path and field not in _NOT_IN_STATUS:
            properties[name] = _record_field(field, kind, meaning)
    return obj(doc, properties)


def _record_field(field: str, kind: str, meaning: str) -> Schema:
    doc = f"{meaning[:1].upper()}{meaning[1:]}."
    if field in _PARTS:
        return ref(f"{PREFIX}.{_PARTS[field]}", doc)
    if kind == records.OBJECT:
        return _record_schema(field, doc)
    return {**_KINDS[kind], "description": doc}


_KINDS: dict[str, Schema] = {
    records.TEXT: {"type": "string"},
    records.TIME: _TIME,
    records.INTEGER: {"type": "integer", "format": "int64"},
    records.BOOLEAN: {"type": "boolean"},
    records.LABELS: _STRINGS,
    records.TEXTS: {"type": "array", "items": {"type": "string"}},
}
_NEWER = {"x-kubernetes-preserve-unknown-fields": True}  # a newer handler's fields are shown too


def _top(kind: kind_module.Kind, doc: str, properties: Schema) -> dict[str, Schema]:
    """A kind and its list."""
    gvk = {"group": kinds.GROUP, "version": kinds.VERSION}
    head = {
        "apiVersion": text(f"{kinds.GROUP_VERSION}"),
        "kind": text(f"{kind.kind}, or {kind.kind}List"),
    }
    items = listed("The objects.", ref(f"{PREFIX}.{kind.kind}"))
    return {
        f"{PREFIX}.{kind.kind}": obj(
            doc,
            {**head, "metadata": ref(f"{META}.ObjectMeta", "Standard metadata."), **properties},
            **{"x-kubernetes-group-version-kind": [{**gvk, "kind": kind.kind}]},
        ),
        f"{PREFIX}.{kind.kind}List": obj(
            f"Several of {kind.kind}.",
            {**head, "metadata": ref(f"{META}.ListMeta", "Standard metadata."), "items": items},
            required=["items"],
            **{"x-kubernetes-group-version-kind": [{**gvk, "kind": f"{kind.kind}List"}]},
        ),
    }


def all_schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    return {
        f"{META}.ObjectMeta": _OBJECT_META,
        f"{META}.OwnerReference": _OWNER,
        f"{META}.ListMeta": _LIST_META,
        f"{META}.Status": _STATUS,
        f"{PREFIX}.Container": _CONTAINER,
        f"{PREFIX}.CoredumpEndpointSpec": _ENDPOINT_SPEC,
        f"{PREFIX}.CoredumpEndpointStatus": _ENDPOINT_STATUS,
        f"{PREFIX}.Process": _record_schema("process", "The process that crashed."),
        f"{PREFIX}.Core": _record_schema("core", "The core as it is stored."),
        f"{PREFIX}.CoredumpStatus": {
            **_record_schema("", "The facts about the crash: the dump's meta.json."),
            **_NEWER,
        },
        **_top(
            kinds.COREDUMP,
            "One stored core dump. Made by a crash; deleting it deletes its bytes.",
            {"status": ref(f"{PREFIX}.CoredumpStatus", "What is known about the crash.")},
        ),
        **_top(
            kinds.ENDPOINT,
            "The door to the core dumps of one pod, named as the pod is.",
            {
                "spec": ref(f"{PREFIX}.CoredumpEndpointSpec", "Which pod."),
                "status": ref(f"{PREFIX}.CoredumpEndpointStatus", "What is stored."),
            },
        ),
    }
