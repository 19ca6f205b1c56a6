"""The rules of a CoredumpEndpoint: which bodies are valid, which objects they make. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coredumpd import errors
from coredumpd.apiserver.machinery import lifecycle, metadata
from coredumpd.formats import names
from coredumpd.server import kinds

UID_PLACEHOLDER = "__UID__"  # in the template, to be replaced by a uid
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
    """Raises BadRequest for a body of another apiVersion or kind."""
    expected = {"apiVersion": kinds.GROUP_VERSION, "kind": kinds.ENDPOINT.kind}
    for field, value in expected.items():
        if body.get(field, value) != value:
            raise errors.BadRequest.about(
                field,
                f"{field} is {body[field]!r}; the body of this request must say {value!r}",
            )


def problems(body: Mapping[str, Any]) -> list[errors.Cause]:
    """Every rule that the body breaks, but for those about its name."""
    meta = body.get("metadata")
    if not isinstance(meta, Mapping):
        return [errors.Cause("metadata", meta, "is required and must be a mapping")]
    return metadata.problems(meta) + _spec_problems(body.get("spec"))


def pod_uid(body: Mapping[str, Any]) -> str | None:
    """The uid in a checked body; None when the body leaves it to the server."""
    spec = body.get("spec") or {}
    uid = spec.get("podUID") or spec.get("poduid")
    return None if uid in (None, "", UID_PLACEHOLDER) else str(uid)


def new(namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The object a create makes; its podUID may still be None. Raises Invalid, BadRequest."""
    causes = problems(body)
    unchecked = body.get("metadata")
    meta: Mapping[str, Any] = unchecked if isinstance(unchecked, Mapping) else {}
    name, prefix = meta.get("name") or "", meta.get("generateName")
    if not name and isinstance(prefix, str) and prefix:
        name = lifecycle.generated_name(prefix)
    if not name:
        causes.append(errors.Cause("metadata.name", None, "is required, or generateName"))
    elif isinstance(name, str) and (cause := metadata.name_problem(name)):
        causes.append(cause)
    if not names.is_dns_label(namespace):
        causes.append(errors.Cause("metadata.namespace", namespace, "must be a DNS label"))
    if causes:
        raise invalid(str(name), tuple(causes))
    if meta.get("namespace") not in (None, "", namespace):
        raise errors.BadRequest.about(
            "metadata.namespace",
            "the namespace of the provided object does not match the namespace sent on the request",
        )
    if meta.get("resourceVersion"):
        raise errors.BadRequest.about(
            "metadata.resourceVersion", "resourceVersion should not be set on objects to be created"
        )
    return {
        "apiVersion": kinds.GROUP_VERSION,
        "kind": kinds.ENDPOINT.kind,
        "metadata": lifecycle.born(meta, namespace, str(name)),
        "spec": {"podUID": pod_uid(body)},
    }


def replaced(old: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The object after an update of `old` with `body`. Raises Invalid, BadRequest, Conflict."""
    check_type(body)
    causes = problems(body)
    name = old["metadata"]["name"]
    if causes:
        raise invalid(name, tuple(causes))
    lifecycle.check_identity(kinds.ENDPOINT.plural, old["metadata"], body["metadata"])
    meta, causes = lifecycle.replaced(old["metadata"], body["metadata"])
    uid = pod_uid(body)
    if uid is not None and uid != old["spec"]["podUID"]:
        rule = "is immutable; delete the object and create it again"
        causes.append(errors.Cause("spec.podUID", uid, rule))
    if causes:
        raise invalid(name, tuple(causes))
    meta["resourceVersion"] = old["metadata"]["resourceVersion"]
    return {**old, "metadata": meta}


def _spec_problems(spec: Any) -> list[errors.Cause]:
    if spec is None:
        return []
    if not isinstance(spec, Mapping):
        return [errors.Cause("spec", spec, "must be a mapping")]
    causes = []
    uids = []
    for field in _SPEC_FIELDS:
        value = spec.get(field)
        if value in (None, "", UID_PLACEHOLDER):
            continue
        uids.append(value)
        if not isinstance(value, str):
            causes.append(errors.Cause(f"spec.{field}", value, f"must be a string; {UID_RULE}"))
        elif not names.is_uid(value):
            causes.append(errors.Cause(f"spec.{field}", value, UID_RULE))
    if len(uids) == 2 and uids[0] != uids[1]:
        causes.append(
            errors.Cause("spec.poduid", uids[1], "must equal spec.podUID if both are given")
        )
    return causes


def no_such_pod(namespace: str, name: str) -> errors.Invalid:
    """The error for a body without a uid when no living pod has the name."""
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
