"""What a namespace or a pod says about its own dumps, by annotations. Pure.

The cluster's settings are the defaults, a namespace overrides them, a pod may only restrict. What
cannot be read is never passed over in silence: each problem is a sentence for an Event, and names
what stands instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from coredumpd import units
from coredumpd.formats import names

PREFIX = "coredump.fujitsu.com/"
CAPTURE, MAX_SIZE, QUOTA, RETENTION = "capture", "max-size", "quota", "retention"
ENCRYPT_TO = "encrypt-to"
OF_NAMESPACES = (CAPTURE, MAX_SIZE, QUOTA, RETENTION, ENCRYPT_TO)
OF_PODS = (CAPTURE, MAX_SIZE)
_WORDS = {"enabled": True, "disabled": False}


@dataclasses.dataclass(frozen=True)
class Capture:
    """Whether crashes are captured, and how many bytes of a core are kept."""

    enabled: bool
    maxSize: int


@dataclasses.dataclass(frozen=True)
class Retention:
    """Bytes of core.gz a namespace may keep; seconds for which a deleted pod's dumps stay."""

    quota: int
    keep_s: float


def ours(metadata: Mapping[str, object]) -> dict[str, str]:
    """The annotations of an object's `metadata` that are meant for us, without the prefix."""
    found = metadata.get("annotations")
    return {
        name.removeprefix(PREFIX): str(value)
        for name, value in (found if isinstance(found, Mapping) else {}).items()
        if name.startswith(PREFIX)
    }


def of_namespace(said: Mapping[str, str], default: Capture) -> tuple[Capture, list[str]]:
    """What holds in a namespace that says `said`, and what is wrong with that."""
    problems = _unknown(said, OF_NAMESPACES, "of a namespace")
    enabled, size = _enabled(said, default, problems), _size(said, default, problems)
    if ENCRYPT_TO in said and (problem := no_config_map(said[ENCRYPT_TO])):
        problems.append(problem)
    return Capture(enabled, size), problems


def no_config_map(text: str) -> str | None:
    """What is wrong with a value of `encrypt-to`, which all the same wants sealing; or None."""
    if names.is_dns_subdomain(text):
        return None
    rule = "must be the name of a ConfigMap of this namespace"
    return _problem(ENCRYPT_TO, text, rule, "no dump leaves its node")


def of_pod(said: Mapping[str, str], outer: Capture) -> tuple[Capture, list[str]]:
    """What holds for a pod that says `said` in a namespace where `outer` holds; the problems."""
    problems = _unknown(said, OF_PODS, "of a pod")
    enabled, size = _enabled(said, outer, problems), _size(said, outer, problems)
    rule = "a pod may only restrict what holds in its namespace"
    if enabled and not outer.enabled:
        problems.append(_problem(CAPTURE, said[CAPTURE], rule, "disabled stands"))
    if size > outer.maxSize:
        stands = f"{units.format_quantity(outer.maxSize)} stands"
        problems.append(_problem(MAX_SIZE, said[MAX_SIZE], rule, stands))
    return Capture(enabled and outer.enabled, min(size, outer.maxSize)), problems


def retention_of(said: Mapping[str, str], default: Retention) -> tuple[Retention, list[str]]:
    """What holds for the stored dumps of a namespace that says `said`, and what is wrong."""
    problems: list[str] = []
    quota, keep_s = default.quota, default.keep_s
    if QUOTA in said:
        try:
            quota = units.parse_quantity(said[QUOTA])
        except ValueError as error:
            stands = f"{units.format_quantity(quota)} stands"
            problems.append(_problem(QUOTA, said[QUOTA], str(error), stands))
    if RETENTION in said:
        try:
            keep_s = units.parse_duration(said[RETENTION])
        except ValueError as error:
            stands = f"{units.format_duration(keep_s)} stands"
            problems.append(_problem(RETENTION, said[RETENTION], str(error), stands))
    return Retention(quota, keep_s), problems


def _enabled(said: Mapping[str, str], outer: Capture, problems: list[str]) -> bool:
    """Who writes anything but `enabled` wanted something kept back: memory holds secrets."""
    text = said.get(CAPTURE)
    if text is None:
        return outer.enabled
    if text not in _WORDS:
        rule = "must be enabled or disabled"
        problems.append(_problem(CAPTURE, text, rule, "taken as disabled"))
    return _WORDS.get(text, False)


def _size(said: Mapping[str, str], outer: Capture, problems: list[str]) -> int:
    if MAX_SIZE not in said:
        return outer.maxSize
    try:
        return units.parse_quantity(said[MAX_SIZE])
    except ValueError as error:
        stands = f"{units.format_quantity(outer.maxSize)} stands"
        problems.append(_problem(MAX_SIZE, said[MAX_SIZE], str(error), stands))
        return outer.maxSize


def _unknown(said: Mapping[str, str], known: tuple[str, ...], whose: str) -> list[str]:
    rule = f"is no annotation {whose}; those are {', '.join(known)}"
    return [
        _problem(name, text, rule, "it is ignored")
        for name, text in sorted(said.items())
        if name not in known
    ]


def _problem(name: str, value: str, rule: str, instead: str) -> str:
    return f"annotation {PREFIX}{name}: {value[:100]!r}: {rule}; {instead}"
