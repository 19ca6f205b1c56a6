"""An Event on a pod, as an agent asks the server to write it: `POST /agent/v1/events`.

So agents need no right to write Events in tenants' namespaces. The body is one small JSON object;
the server checks that the pod is on the node of the agent's token, and answers 202 with `{}`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Self

from coredumpd import errors, log
from coredumpd.formats import event_reasons, names, pod_reference

PATH = "/agent/v1/events"
BYTES_MAX = 8 * 1024
MESSAGE_CHARS_MAX = 1024  # core/v1 Event validation
COUNT_MAX = 2**31 - 1  # core/v1 Event: int32
_SERIES_CHARS = 32
_LISTS = ("spec.containers", "spec.initContainers", "spec.ephemeralContainers")
_HEX = frozenset("0123456789abcdef")


@dataclasses.dataclass(frozen=True)
class Report:
    """One Event. `count`: how often so far; `series`: equal for repeats of one Event of the pod."""

    namespace: str
    pod: str
    uid: str
    path: str | None  # a container's fieldPath, as in the kubelet's Events
    reason: str
    message: str
    series: str
    count: int = 1

    def encode(self) -> bytes:
        """The body, which `parse` reads."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

    def regarding(self) -> dict[str, Any]:
        """The pod, or its container, as a core/v1 ObjectReference."""
        return pod_reference.make(self.namespace, self.pod, self.uid, self.path)

    @classmethod
    def of(
        cls, regarding: dict[str, Any], reason: str, message: str, same: str, count: int = 1
    ) -> Self:
        """From an ObjectReference; `same` is equal for repeats. Cuts and escapes the message."""
        return cls(
            namespace=regarding["namespace"],
            pod=regarding["name"],
            uid=regarding["uid"],
            path=regarding.get("fieldPath"),
            reason=reason,
            message=log.escape(message)[:MESSAGE_CHARS_MAX],
            series=hashlib.sha256(same.encode()).hexdigest()[:_SERIES_CHARS],
            count=min(count, COUNT_MAX),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A report from a body. Raises Invalid, which names the field and the rule."""
        try:
            document = json.loads(data) if len(data) <= BYTES_MAX else None
        except (ValueError, RecursionError):
            document = None
        fields = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(document, dict) or set(document) != fields:
            rule = f"must be a JSON object of {', '.join(sorted(fields))}, of {BYTES_MAX} bytes"
            raise errors.Invalid.about("body", f"the body {rule} at most")
        report = cls(**document)
        causes = tuple(report._causes())
        if causes:
            raise errors.Invalid("; ".join(map(str, causes)), causes)
        return report

    def _causes(self) -> list[errors.Cause]:
        rules = {
            "namespace": (_is(names.is_dns_label, self.namespace), "must be a namespace's name"),
            "pod": (_is(names.is_dns_subdomain, self.pod), "must be a pod's name"),
            "uid": (_is(names.is_uid, self.uid), "must be a pod's uid"),
            "path": (
                self.path is None or _is(_is_of_container, self.path),
                "must be spec.containers{NAME} or of another list of containers, or null",
            ),
            "reason": (
                isinstance(self.reason, str) and self.reason in event_reasons.MEANINGS,
                "must be a reason of coredumpd's Events",
            ),
            "message": (
                _is(_is_line, self.message),
                f"must be printable ASCII, at most {MESSAGE_CHARS_MAX} characters",
            ),
            "series": (_is(_is_series, self.series), f"must be {_SERIES_CHARS} hex digits"),
            "count": (
                type(self.count) is int and 0 < self.count <= COUNT_MAX,
                f"must be a number from 1 to {COUNT_MAX}",
            ),
        }
        return [
            errors.Cause(field, str(getattr(self, field))[:80], rule)
            for field, (accepted, rule) in rules.items()
            if not accepted
        ]


def _is(rule: Any, value: object) -> bool:
    return isinstance(value, str) and bool(rule(value))


def _is_of_container(path: str) -> bool:
    of_list, _, name = path.partition("{")
    return of_list in _LISTS and name.endswith("}") and names.is_dns_label(name[:-1])


def _is_line(text: str) -> bool:
    return 0 < len(text) <= MESSAGE_CHARS_MAX and text.isascii() and text.isprintable()


def _is_series(text: str) -> bool:
    return len(text) == _SERIES_CHARS and set(text) <= _HEX
