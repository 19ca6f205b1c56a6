"""`metadata` of objects that clients send: checked as k8s.io/apimachinery checks it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from coredumpd import errors
from coredumpd.formats import names

_ANNOTATION_BYTES_MAX = 256 * 1024  # as natively
# Not bounded natively: a hundred times what anybody needs, and nothing that weighs.
_LABEL_BYTES_MAX = 32 * 1024
_ENTRIES_MAX = 100  # finalizers, and owners
_TEXT_CHARS_MAX = 317  # a prefix of 253, a slash, a name of 63
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
FIELDS = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
)
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_OWNER_REQUIRED = ("apiVersion", "kind", "name", "uid")


def problems(metadata: Mapping[str, Any]) -> list[errors.Cause]:
    """Every rule that `metadata` breaks."""
    causes: list[errors.Cause] = []
    for name in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        value = metadata.get(name)
        if value is not None and not isinstance(value, str):
            causes.append(errors.Cause(f"metadata.{name}", value, "must be a string"))
        if isinstance(value, str) and len(value) > _TEXT_CHARS_MAX:
            rule = f"must have at most {_TEXT_CHARS_MAX} characters"
            causes.append(errors.Cause(f"metadata.{name}", value, rule))
    causes += _string_map(metadata, "labels", _LABEL_BYTES_MAX, _label_rule)
    causes += _string_map(metadata, "annotations", _ANNOTATION_BYTES_MAX, lambda _: None)
    causes += _finalizers(metadata.get("finalizers"))
    causes += _owners(metadata.get("ownerReferences"))
    return causes


def unknown_fields(metadata: Mapping[str, Any]) -> list[str]:
    """Paths of fields that ObjectMeta does not have."""
    return [f"metadata.{name}" for name in metadata if name not in FIELDS]


def name_problem(name: str) -> errors.Cause | None:
    """The rule of object names: RFC 1123 subdomain."""
    if names.is_dns_subdomain(name):
        return None
    rule = "must be a lower case RFC 1123 subdomain of at most 253 characters, as a pod's name is"
    return errors.Cause("metadata.name", name, rule)


def is_qualified_name(key: str) -> bool:
    """`[prefix/]name`: what labels, annotations and finalizers are called."""
    prefix, slash, name = key.rpartition("/")
    return _NAME.fullmatch(name) is not None and (not slash or names.is_dns_subdomain(prefix))


def _string_map(
    metadata: Mapping[str, Any], field: str, size_max: int, rule_of: Any
) -> list[errors.Cause]:
    value = metadata.get(field)
    if value is None:
        return []
    path = f"metadata.{field}"
    if not isinstance(value, Mapping):
        return [errors.Cause(path, value, "must be a mapping")]
    causes, size = [], 0
    for key, text in value.items():
        if not is_qualified_name(key):
            causes.append(errors.Cause(path, key, "must be a qualified name: [prefix/]name"))
        if not isinstance(text, str):
            causes.append(errors.Cause(f"{path}[{key}]", text, "must be a string"))
            continue
        size += len(key) + len(text.encode("utf-8", "surrogatepass"))
        if broken := rule_of(text):
            causes.append(errors.Cause(f"{path}[{key}]", text, broken))
    if size > size_max:
        causes.append(errors.Cause(path, None, f"Too long: must have at most {size_max} bytes"))
    return causes


def _label_rule(text: str) -> str | None:
    if text == "" or _NAME.fullmatch(text):
        return None
    return "must be a label value: at most 63 of [A-Za-z0-9_.-], alphanumeric at both ends"


def _finalizers(value: Any) -> list[errors.Cause]:
    if value is None:
        return []
    if not isinstance(value, list):
        return [errors.Cause("metadata.finalizers", value, "must be a list")]
    if len(value) > _ENTRIES_MAX:
        return [errors.Cause("metadata.finalizers", None, _entries_rule(value))]
    rule = "must be a qualified name: [prefix/]name"
    return [
        errors.Cause(f"metadata.finalizers[{number}]", name, rule)
        for number, name in enumerate(value)
        if not isinstance(name, str) or not is_qualified_name(name)
    ]


def _entries_rule(value: list[Any]) -> str:
    return f"Too many: {len(value)}: must have at most {_ENTRIES_MAX} items"


def _owners(value: Any) -> list[errors.Cause]:
    if value is None:
        return []
    if not isinstance(value, list):
        return [errors.Cause("metadata.ownerReferences", value, "must be a list")]
    if len(value) > _ENTRIES_MAX:
        return [errors.Cause("metadata.ownerReferences", None, _entries_rule(value))]
    causes = []
    for number, owner in enumerate(value):
        path = f"metadata.ownerReferences[{number}]"
        if isinstance(owner, Mapping):
            causes += _owner(path, owner)
        else:
            causes.append(errors.Cause(path, owner, "must be a mapping"))
    return causes


def _owner(path: str, owner: Mapping[str, Any]) -> list[errors.Cause]:
    causes = []
    for field in _OWNER_REQUIRED:
        value = owner.get(field)
        if not isinstance(value, str) or not value:
            causes.append(errors.Cause(f"{path}.{field}", value, "is required"))
        elif len(value) > _TEXT_CHARS_MAX:
            rule = f"must have at most {_TEXT_CHARS_MAX} characters"
            causes.append(errors.Cause(f"{path}.{field}", value, rule))
    for field in owner:
        if field not in _OWNER_FIELDS:
            causes.append(errors.Cause(f"{path}.{field}", owner[field], "is not a field"))
        elif field not in _OWNER_REQUIRED and not isinstance(owner[field], bool):
            causes.append(errors.Cause(f"{path}.{field}", owner[field], "must be true or false"))
    return causes
