"""Label and field selectors, as k8s.io/apimachinery parses them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from coredumpd import errors

_CHARS_MAX = 10_000
_REQUIREMENTS_MAX = 100  # each is compared with every object and every change
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_COMPARE = re.compile(rf"({_KEY})\s*([<>])\s*(-?[0-9]{{1,19}})")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_LABEL_VALUE = re.compile(_VALUE)
_VALUE_CHARS_MAX = 63
_LONG_VALUE = re.compile(rf"[A-Za-z0-9_.-]{{{_VALUE_CHARS_MAX + 1},}}")


@dataclasses.dataclass(frozen=True)
class Requirement:
    """`key` must exist, or have one of `values`. If `negated`, it must not; absence meets that."""

    key: str
    values: frozenset[str] | None
    negated: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do these labels meet it?"""
        matches = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return matches != self.negated


@dataclasses.dataclass(frozen=True)
class Comparison:
    """`key` must exist and be a whole number that is `above` the bound, or else below it."""

    key: str
    bound: int
    above: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do these labels meet it?"""
        text = labels.get(self.key, "")
        if not _INTEGER.fullmatch(text):
            return False
        return int(text) > self.bound if self.above else int(text) < self.bound


@dataclasses.dataclass(frozen=True)
class Selector:
    """All requirements together; none selects everything."""

    requirements: tuple[Requirement | Comparison, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do all requirements hold?"""
        return all(requirement.holds(labels) for requirement in self.requirements)


ANY = Selector()


def labels(text: str, fields: Sequence[str] = ()) -> Selector:
    """`a=b,c!=d,e in (f,g),h,!i`. Raises BadRequest.

    `fields`: those that can be selected instead, named when a value is too long for a label.
    """
    return Selector(tuple(_label(part, text, fields) for part in _split(text, "labelSelector")))


def fields(text: str, supported: Sequence[str]) -> Selector:
    """`metadata.name=x`; only `supported` fields. Raises BadRequest naming them."""
    requirements = []
    for part in filter(None, _split(text, "fieldSelector")):
        match = re.fullmatch(r"([A-Za-z0-9_.]+)(==|=|!=)(.*)", part.strip())
        if match is None:
            raise errors.BadRequest.about(
                "fieldSelector", f"fieldSelector: {part!r} is not FIELD=VALUE"
            )
        if match[1] not in supported:
            raise errors.BadRequest.about(
                "fieldSelector",
                f"field label not supported: {match[1]}; supported: {', '.join(supported)}",
            )
        requirements.append(Requirement(match[1], frozenset((match[3],)), match[2] == "!="))
    return Selector(tuple(requirements))


def _split(text: str, parameter: str) -> list[str]:
    """At commas outside parentheses. Raises BadRequest for too many parts."""
    if len(text) > _CHARS_MAX:
        raise errors.BadRequest.about(
            parameter, f"{parameter} is longer than {_CHARS_MAX} characters"
        )
    if not text.strip():
        return []
    parts, start, inside = [], 0, False
    for mark in re.finditer(r"[(),]", text):
        if mark[0] == "," and not inside:
            parts.append(text[start : mark.start()])
            start = mark.end()
        inside = mark[0] == "(" or (inside and mark[0] != ")")
    parts.append(text[start:])
    if len(parts) > _REQUIREMENTS_MAX:
        raise errors.BadRequest.about(
            parameter, f"{parameter} has more than {_REQUIREMENTS_MAX} requirements"
        )
    return parts


def _label(part: str, whole: str, fields: Sequence[str]) -> Requirement | Comparison:
    part = part.strip()
    if match := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in match[3].split(","))
        if all(_LABEL_VALUE.fullmatch(value) for value in values):
            return Requirement(match[1], values, match[2] == "notin")
    elif match := _EQUAL.fullmatch(part):
        return Requirement(match[1], frozenset((match[3],)), match[2] == "!=")
    elif match := _COMPARE.fullmatch(part):
        return Comparison(match[1], int(match[3]), match[2] == ">")
    elif match := _EXISTS.fullmatch(part):
        return Requirement(match[2], None, bool(match[1]))
    problem = f"unable to parse the labelSelector {whole!r} at {part!r}"
    if _LONG_VALUE.search(part.partition("=")[2] or part.partition("(")[2]):
        problem += f": a label's value has at most {_VALUE_CHARS_MAX} characters"
        if fields:
            problem += f"; select a longer name by fieldSelector: {', '.join(fields)}"
    raise errors.BadRequest.about("labelSelector", problem)
