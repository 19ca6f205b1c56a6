"""The rules of a CoredumpEndpoint: what a body may say, what is made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coredumpd import errors, record
from coredumpd.server import kinds
from coredumpd.web import metadata

UID_PLACEHOLDER = "__UID__"  # what the template holds until somebody replaces it
UID_RULE = "must match [A-Za-z0-9-]{1,128}, as `kubectl get pod NAME -o jsonpath={.metadata.uid}`"
_SPEC_FIELDS = ("podUID", "poduid")
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")


def unknown_fields(body: Mapping[str, Any]) -> list[str]:
    """Paths of fields that no CoredumpEndpoint has."""
    unknown = [name for name in body if name not in _FIELDS]
    spec, meta = body.get("spec"), body.get("metadata")
    if isinstance(meta, Mapping):
        unknown += metadata.unknown_fields(meta)
    if isinstance(spec, Mapping):
        unknown += [f"spec.{name}" for name in spec if name not in _SPEC_FIELDS]
    return unknown


def check_type(body: Mapping[str, Any]) -> None:
    """Raises BadRequest for a body that says it is something else."""
    expected = {"apiVersion": kinds.GROUP_VERSION, "kind": kinds.ENDPOINT.kind}
    for field, value in expected.items():
        if body.get(field, value) != value:
            raise errors.BadRequest(
                f"{field} is {body[field]!r}; the body of this request must say {value!r}"
            )


def problems(body: Mapping[str, Any]) -> list[errors.Cause]:
    """Every rule the body breaks, its name left aside."""
    meta = body.get("metadata")
    if not isinstance(meta, Mapping):
        return [errors.Cause("metadata", meta, "is required and must be a mapping")]
    return metadata.problems(meta) + _spec_problems(body.get("spec"))


def pod_uid(body: Mapping[str, Any]) -> str | None:
    """The uid that a checked body gives; None when it leaves it to the server."""
    spec = body.get("spec") or {}
    given = spec.get("podUID") or spec.get("poduid")
    return None if given in (None, "", UID_PLACEHOLDER) else str(given)


def _spec_problems(spec: Any) -> list[errors.Cause]:
    if spec is None:
        return []
    if not isinstance(spec, Mapping):
        return [errors.Cause("spec", spec, "must be a mapping")]
    causes = []
    given = []
    for field in _SPEC_FIELDS:
        value = spec.get(field)
        if value in (None, "", UID_PLACEHOLDER):
            continue
        given.append(value)
        if not isinstance(value, str):
            causes.append(errors.Cause(f"spec.{field}", value, f"must be a string; {UID_RULE}"))
        elif not record.is_uid(value):
            causes.append(errors.Cause(f"spec.{field}", value, UID_RULE))
    if len(given) == 2 and given[0] != given[1]:
        causes.append(errors.Cause("spec.poduid", given[1], "must equal spec.podUID if both stand"))
    return causes


def no_such_pod(namespace: str, name: str) -> errors.Invalid:
    """The refusal when no uid is given and no living pod has the name."""
    rule = (
        f"is required, since no pod {name!r} lives in {namespace!r}; a deleted pod's uid is in "
        f"`kubectl get events -n {namespace} --field-selector involvedObject.name={name} "
        "-o jsonpath='{.items[*].involvedObject.uid}'`, in the audit log and in your own logs"
    )
    cause = errors.Cause("spec.podUID", None, rule)
    return invalid(name, (cause,))


def invalid(name: str, causes: tuple[errors.Cause, ...]) -> errors.Invalid:
    """Invalid, worded as kube-apiserver words it."""
    return errors.Invalid(f'{kinds.ENDPOINT.kind}.{kinds.GROUP} "{name}" is invalid', causes)
