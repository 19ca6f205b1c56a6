"""The configuration file: YAML in, checked settings out. Owner of the `pyyaml` dependency."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import yaml

from coredumpd import errors
from coredumpd.settings import file as files
from coredumpd.settings import sections

CONFIG_BYTES_MAX = 1024 * 1024


def load(path: str) -> dict[str, Any]:
    """Sections by name (`policy`, `agent`, `server`), each a settings dataclass.

    Raises SettingsError for a file that cannot be read, YAML that cannot be parsed (with its line)
    and every field that breaks its rule.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise errors.SettingsError(f"cannot read the configuration {path}: {error}") from error
    if len(text) > CONFIG_BYTES_MAX:
        raise errors.SettingsError(f"{path}: larger than {CONFIG_BYTES_MAX} bytes")
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise errors.SettingsError(f"{path}: not YAML: {error}") from error
    return files.check({} if document is None else document)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_S = TypeVar("_S")


def check(document: object) -> dict[str, Any]:
    """All sections of a configuration. Raises SettingsError naming every wrong field at once."""
    if not isinstance(document, Mapping):
        raise errors.SettingsError("the configuration must be a mapping of sections")
    causes = list(_unknown("", document, sections.SECTIONS))
    found: dict[str, Any] = {}
    for name, kind in sections.SECTIONS.items():
        section = document.get(name)
        try:
            found[name] = build(kind, {} if section is None else section, name)
        except errors.SettingsError as error:
            causes.extend(error.causes)
    if causes:
        raise errors.SettingsError("the configuration is wrong:", tuple(causes))
    return found


def build(kind: type[_S], values: object, section: str) -> _S:
    """One section as its dataclass. Raises SettingsError naming every wrong field at once."""
    if not isinstance(values, Mapping):
        cause = errors.Cause(section, values, "must be a mapping")
        raise errors.SettingsError("the configuration is wrong:", (cause,))
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    causes = list(_unknown(section + ".", values, fields))
    parsed = {}
    for name, field in fields.items():
        if name in values:
            try:
                parsed[name] = field.metadata["parse"](values[name])
            except (ValueError, ArithmeticError):
                rule = field.metadata["rule"]
                causes.append(errors.Cause(f"{section}.{name}", values[name], rule))
    made = kind(**parsed)
    if not causes:
        conflicts: Iterable[tuple[str, str]] = getattr(made, "conflicts", tuple)()
        causes += [errors.Cause(f"{section}.{name}", None, rule) for name, rule in conflicts]
    if causes:
        raise errors.SettingsError("the configuration is wrong:", tuple(causes))
    return made


def _unknown(
    prefix: str, values: Mapping[Any, Any], known: Mapping[str, Any]
) -> Iterator[errors.Cause]:
    for name in values:
        if name not in known:
            rule = "is not a setting; known here: " + ", ".join(sorted(known))
            yield errors.Cause(f"{prefix}{name}", values[name], rule)
