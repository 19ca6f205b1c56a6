"""The annotations by which namespaces and pods rule over their own dumps. Pure.

The cluster's settings are the defaults, a namespace overrides them, a pod may only restrict them.
Each value that cannot be obeyed is reported: the problem is a sentence for an Event, which names
the value that holds instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from coredumpd import units
from coredumpd.formats import api, names

PREFIX = f"{api.GROUP}/"
CAPTURE, MAX_SIZE, QUOTA, RETENTION = "capture", "max-size", "quota", "retention"
ENCRYPT_TO = "encrypt-to"
KEEP = "keep"
OF_NAMESPACES = (CAPTURE, MAX_SIZE, QUOTA, RETENTION, ENCRYPT_TO)
OF_PODS = (CAPTURE, MAX_SIZE, KEEP)
VALUE_CHARS_MAX = 256  # every valid value is shorter
UNKNOWN_MAX = 8  # names that are none of ours, of which problems are reported
_CUT = "\N{HORIZONTAL ELLIPSIS}"  # ends a value that was too long: no valid value has it
_WORDS = {"enabled": True, "disabled": False}


@dataclasses.dataclass(frozen=True)
class Rules:
    """Whether crashes are captured, and how many bytes of a core are kept."""

    enabled: bool
    maxSize: int


@dataclasses.dataclass(frozen=True)
class Retention:
    """Bytes of core.gz that a namespace may keep; seconds that a deleted pod's dumps are kept."""

    quota: int
    keep_s: float


def ours(metadata: Mapping[str, object]) -> dict[str, str]:
    """The annotations of an object's `metadata` that are meant for us, without the prefix.

    Bounded: a value that is too long is cut, and then valid for no annotation; of names that we do
    not know, the first few.
    """
    present = metadata.get("annotations")
    own = {
        name.removeprefix(PREFIX): _cut(str(value))
        for name, value in (present if isinstance(present, Mapping) else {}).items()
        if name.startswith(PREFIX)
    }
    unknown = sorted(set(own) - set(OF_NAMESPACES) - set(OF_PODS))
    return {name: value for name, value in own.items() if name not in unknown[UNKNOWN_MAX:]}


def _cut(value: str) -> str:
    return value if len(value) <= VALUE_CHARS_MAX else value[:VALUE_CHARS_MAX] + _CUT


def of_namespace(annotations: Mapping[str, str], default: Rules) -> tuple[Rules, list[str]]:
    """The rules of a namespace with these annotations, and the annotations' problems."""
    problems = _unknown(annotations, OF_NAMESPACES, "of a namespace")
    enabled, size = _enabled(annotations, default, problems), _size(annotations, default, problems)
    if ENCRYPT_TO in annotations and (problem := no_config_map(annotations[ENCRYPT_TO])):
        problems.append(problem)
    return Rules(enabled, size), problems


def no_config_map(text: str) -> str | None:
    """Why this `encrypt-to` cannot name a ConfigMap, or None.

    Even such a value keeps dumps from being shipped in the clear.
    """
    if names.is_dns_subdomain(text):
        return None
    rule = "must be the name of a ConfigMap of this namespace"
    return _problem(ENCRYPT_TO, text, rule, "no dump leaves its node")


def of_pod(annotations: Mapping[str, str], outer: Rules) -> tuple[Rules, list[str]]:
    """The rules of a pod with these annotations in a namespace with rules `outer`; problems."""
    problems = _unknown(annotations, OF_PODS, "of a pod")
    enabled, size = _enabled(annotations, outer, problems), _size(annotations, outer, problems)
    rule = "a pod may only restrict what holds in its namespace"
    if enabled and not outer.enabled:
        problems.append(_problem(CAPTURE, annotations[CAPTURE], rule, "disabled stands"))
    if size > outer.maxSize:
        stands = f"{units.format_quantity(outer.maxSize)} stands"
        problems.append(_problem(MAX_SIZE, annotations[MAX_SIZE], rule, stands))
    if annotations.get(KEEP, "true") not in ("true", "false"):
        rule = "must be true or false"
        problems.append(_problem(KEEP, annotations[KEEP], rule, "taken as false"))
    return Rules(enabled and outer.enabled, min(size, outer.maxSize)), problems


def keeps(annotations: Mapping[str, str]) -> bool:
    """Does a pod with these annotations pin its dumps, so that no quota removes them?"""
    return annotations.get(KEEP) == "true"


def retention_of(annotations: Mapping[str, str], default: Retention) -> tuple[Retention, list[str]]:
    """The retention of a namespace with these annotations, and the annotations' problems."""
    problems: list[str] = []
    quota, keep_s = default.quota, default.keep_s
    if QUOTA in annotations:
        try:
            quota = units.parse_quantity(annotations[QUOTA])
        except ValueError as error:
            stands = f"{units.format_quantity(quota)} stands"
            problems.append(_problem(QUOTA, annotations[QUOTA], str(error), stands))
    if RETENTION in annotations:
        try:
            keep_s = units.parse_duration(annotations[RETENTION])
        except ValueError as error:
            stands = f"{units.format_duration(keep_s)} stands"
            problems.append(_problem(RETENTION, annotations[RETENTION], str(error), stands))
    return Retention(quota, keep_s), problems


def _enabled(annotations: Mapping[str, str], outer: Rules, problems: list[str]) -> bool:
    """Any value but `enabled` disables: its author wanted less, and memory holds secrets."""
    text = annotations.get(CAPTURE)
    if text is None:
        return outer.enabled
    if text not in _WORDS:
        rule = "must be enabled or disabled"
        problems.append(_problem(CAPTURE, text, rule, "taken as disabled"))
    return _WORDS.get(text, False)


def _size(annotations: Mapping[str, str], outer: Rules, problems: list[str]) -> int:
    if MAX_SIZE not in annotations:
        return outer.maxSize
    try:
        return units.parse_quantity(annotations[MAX_SIZE])
    except ValueError as error:
        stands = f"{units.format_quantity(outer.maxSize)} stands"
        problems.append(_problem(MAX_SIZE, annotations[MAX_SIZE], str(error), stands))
        return outer.maxSize


def _unknown(annotations: Mapping[str, str], known: tuple[str, ...], whose: str) -> list[str]:
    rule = f"is no annotation {whose}; those are {', '.join(known)}"
    return [
        _problem(name, text, rule, "it is ignored")
        for name, text in sorted(annotations.items())
        if name not in known
    ]


def _problem(name: str, value: str, rule: str, instead: str) -> str:
    return f"annotation {PREFIX}{name}: {value[:100]!r}: {rule}; {instead}"
