"""JSON Patch (RFC 6902) and merge patch (RFC 7386) of objects; other kinds are 415.

A patch is short, but the object that it makes need not be: thirty copies, each of what the last one
made, are a thousand million bytes. So copies have a budget, as in k8s.io/apiserver, and the object
may never grow beyond what a body may be. Both are checked before an operation is applied.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch

from coredumpd import errors
from coredumpd.apiserver.machinery import bodies

JSON, MERGE = "application/json-patch+json", "application/merge-patch+json"
OBJECT_BYTES_MAX = bodies.BODY_BYTES_MAX
# k8s.io/apiserver/pkg/endpoints/handlers/patch.go has the same two.
COPIED_BYTES_MAX = 3 * 1024 * 1024
OPERATIONS_MAX = 10_000
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_STRATEGIC = "application/strategic-merge-patch+json"
_VERBS = ("add", "copy", "move", "remove", "replace", "test")  # `jsonpatch` has more than the RFC
Patch = Callable[[Mapping[str, Any]], dict[str, Any]]


def parse(body: bytes, content_type: str) -> Patch:
    """A function from an object to the patched object, which raises Invalid when it cannot.

    Raises BadRequest for a malformed patch, TooLarge for too many operations,
    UnsupportedMediaType for a kind we do not do.
    """
    name = content_type.partition(";")[0].strip().lower()
    if name == MERGE:
        document = bodies.parse_json(body)
        if not isinstance(document, dict):
            raise errors.BadRequest.about("body", "a merge patch must be an object")
        return lambda obj: _checked(merged(obj, document))
    if name == JSON:
        operations = bodies.parse_json(body)
        if not isinstance(operations, list):
            raise errors.BadRequest.about("body", "a JSON patch is a list of operations")
        if len(operations) > OPERATIONS_MAX:
            raise errors.TooLarge.about(
                "body",
                f"the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, "
                f"got {len(operations)}",
            )
        return lambda obj: _json_patched(obj, operations)
    if name in _APPLY:
        refusal = (
            "server-side apply is not offered here; `kubectl apply` without --server-side works"
        )
    elif name == _STRATEGIC:
        refusal = "strategic merge patch is for built-in kinds; use --type=merge or --type=json"
    else:
        refusal = f"a patch of Content-Type {content_type!r} is not known"
    raise errors.UnsupportedMediaType(f"{refusal}; accepted are {JSON} and {MERGE}")


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _json_patched(obj: Mapping[str, Any], operations: list[Any]) -> dict[str, Any]:
    document: Any = copy.deepcopy(dict(obj))
    budget = _Budget(_size(document))
    try:
        for operation in operations:
            if not isinstance(operation, dict) or operation.get("op") not in _VERBS:
                raise errors.BadRequest.about(
                    "body", f"not a JSON patch: each `op` is one of {', '.join(_VERBS)}"
                )
            budget.charge(document, operation)
            document = jsonpatch.apply_patch(document, [operation], in_place=True)
    except jsonpatch.JsonPatchTestFailed as error:
        path = str(operation.get("path"))
        raise errors.Invalid.about("body", f"the patch's test of {path!r} failed") from error
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPointerException) as error:
        raise errors.Invalid.about("body", f"the patch does not fit the object: {error}") from error
    except (jsonpatch.JsonPatchException, TypeError, ValueError, LookupError) as error:
        raise errors.BadRequest.about("body", f"not a JSON patch: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    return _checked(document)


class _Budget:
    """The bytes that a patch may still copy, and those by which the object may still grow.

    An operation is charged before it is applied. Members' names and punctuation are not counted:
    they stand in the patch itself, which is no longer than a body.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._copied = 0

    def charge(self, document: Any, operation: Mapping[str, Any]) -> None:
        """Raises Invalid if `operation` would copy too much, or make the object too large."""
        verb, added = operation["op"], 0
        if verb in ("add", "replace"):
            added = _size(operation.get("value"))
        elif verb == "copy":
            added = _size_at(document, operation.get("from"))
            self._copied += added
            if self._copied > COPIED_BYTES_MAX:
                raise errors.Invalid.about(
                    "body",
                    f"the patch copies {self._copied} bytes: more than {COPIED_BYTES_MAX}",
                )
        if verb in ("remove", "replace"):
            self._size -= _size_at(document, operation.get("path"))
        self._size += added
        if self._size > OBJECT_BYTES_MAX:
            raise _too_large()


def _size_at(document: Any, path: Any) -> int:
    """The size of the value at a JSON pointer; 0 where there is none: the operation will fail."""
    if not isinstance(path, str):
        return 0
    try:
        return _size(jsonpatch.JsonPointer(path).resolve(document))
    except (jsonpatch.JsonPointerException, TypeError, ValueError, LookupError):
        return 0


def _size(value: Any) -> int:
    """Bytes of the value as JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))


def _checked(document: Any) -> dict[str, Any]:
    """Raises Invalid for what no body could have been: no object, too long, or too deep."""
    if not isinstance(document, dict):
        raise errors.Invalid.about("body", "the patch leaves no object")
    if not bodies.is_shallow(document):
        raise _too_deep()
    if _size(document) > OBJECT_BYTES_MAX:
        raise _too_large()
    return document


def _too_large() -> errors.Invalid:
    rule = f"the patch makes the object longer than {OBJECT_BYTES_MAX} bytes"
    return errors.Invalid.about("body", rule)


def _too_deep() -> errors.Invalid:
    rule = f"the patch nests the object deeper than {bodies.DEPTH_MAX} levels"
    return errors.Invalid.about("body", rule)
