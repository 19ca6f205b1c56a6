"""JSON Patch (RFC 6902) and merge patch (RFC 7386) of objects; other kinds are 415."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch

from coredumpd import errors
from coredumpd.apiserver.machinery import bodies

JSON, MERGE = "application/json-patch+json", "application/merge-patch+json"
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_STRATEGIC = "application/strategic-merge-patch+json"
_OPERATIONS_MAX = 10_000
Patch = Callable[[Mapping[str, Any]], dict[str, Any]]


def parse(body: bytes, content_type: str) -> Patch:
    """A function from an object to the patched object, which raises Invalid when it cannot.

    Raises BadRequest for a malformed patch, UnsupportedMediaType for a kind we do not do.
    """
    name = content_type.partition(";")[0].strip().lower()
    if name == MERGE:
        document = bodies.parse_json(body)
        if not isinstance(document, dict):
            raise errors.BadRequest.about("body", "a merge patch must be an object")
        return lambda obj: merged(obj, document)
    if name == JSON:
        operations = bodies.parse_json(body)
        if not isinstance(operations, list) or len(operations) > _OPERATIONS_MAX:
            raise errors.BadRequest.about(
                "body", f"a JSON patch is a list of at most {_OPERATIONS_MAX}"
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
    try:
        patched = jsonpatch.apply_patch(copy.deepcopy(dict(obj)), operations)
    except jsonpatch.JsonPatchTestFailed as error:
        raise errors.Invalid.about("body", f"the patch's test failed: {error}") from error
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPointerException) as error:
        raise errors.Invalid.about("body", f"the patch does not fit the object: {error}") from error
    except (jsonpatch.JsonPatchException, TypeError, ValueError, LookupError) as error:
        raise errors.BadRequest.about("body", f"not a JSON patch: {error}") from error
    except AttributeError as error:
        raise errors.BadRequest.about(
            "body", "not a JSON patch: each operation is an object"
        ) from error
    if not isinstance(patched, dict):
        raise errors.Invalid.about("body", "the patch leaves no object")
    return patched
