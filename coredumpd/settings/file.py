"""The configuration file: YAML in, checked settings out. Owner of the `pyyaml` dependency."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from coredumpd import errors
from coredumpd.settings import sections

CONFIG_BYTES_MAX = 1024 * 1024


def load(path: str | None) -> sections.Settings:
    """The configuration in the file `path`; the defaults where `path` is None.

    Raises SettingsError for a file that cannot be read, YAML that cannot be parsed (with its line)
    and every field that breaks its rule, with its line.
    """
    if path is None:
        return sections.Settings()
    try:
        with open(path, "rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise errors.SettingsError(f"cannot read the configuration {path}: {error}") from error
    return parse(text, path)


def parse(text: bytes, path: str) -> sections.Settings:
    """The configuration `text`, or that in a ConfigMap with the key `config.yaml`.

    `path` is for messages. Raises SettingsError, as `load` does.
    """
    if len(text) > CONFIG_BYTES_MAX:
        raise errors.SettingsError(f"{path}: larger than {CONFIG_BYTES_MAX} bytes")
    try:
        node = yaml.compose(text, Loader=_StrictLoader)
        first = 1
        if (inner := _in_config_map(node)) is not None:
            first = inner.start_mark.line + 2  # its text begins below the "|"
            node = yaml.compose(inner.value, Loader=_StrictLoader)
        document = None if node is None else _StrictLoader("").construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise errors.SettingsError(f"{path}: not YAML: {error}") from error
    try:
        return check({} if document is None else document)
    except errors.SettingsError as error:
        for cause in error.causes:
            line, value = _find(node, cause.field.split("."))
            cause.line = None if line is None else first + line
            _quote(cause, value)
        raise errors.SettingsError(f"{path}: {error.message}", error.causes) from error


def _quote(cause: errors.Cause, node: yaml.Node | None) -> None:
    """Show a value as it is written where YAML 1.1 makes another of it: `on`, `1:30`."""
    if isinstance(node, yaml.ScalarNode) and str(cause.value) != node.value:
        cause.rule += f" (YAML takes {node.value} for {cause.value!r}: put it in quotes)"
        cause.value = node.value


def foreign(text: bytes) -> dict[str, Any]:
    """The mapping in the YAML or JSON of another program; empty: {}. Raises SettingsError."""
    if len(text) > CONFIG_BYTES_MAX:
        raise errors.SettingsError(f"larger than {CONFIG_BYTES_MAX} bytes")
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise errors.SettingsError(f"not YAML: {error}") from error
    if not isinstance(document, Mapping | None):
        raise errors.SettingsError("must be a mapping")
    return dict(document or {})


def _in_config_map(node: yaml.Node | None) -> yaml.ScalarNode | None:
    """The node of `data."config.yaml"`, if this document is a ConfigMap that has it."""
    _, kind = _find(node, ["kind"])
    _, inner = _find(node, ["data", "config.yaml"])
    is_one = kind is not None and kind.value == "ConfigMap"
    return inner if is_one and isinstance(inner, yaml.ScalarNode) else None


def _find(node: yaml.Node | None, names: Sequence[str]) -> tuple[int | None, yaml.Node | None]:
    """The line, from 0, of the field `names`, or of its section; and the field's value."""
    line = None
    for name in names:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        key, node = next((pair for pair in pairs if pair[0].value == name), (None, None))
        if key is None:
            break
        line = int(key.start_mark.line)
    return line, node


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key written twice; otherwise the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                problem = f"the key {key!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


_S = TypeVar("_S")


def check(document: object) -> sections.Settings:
    """The checked `document`. Raises SettingsError naming every wrong field at once."""
    if not isinstance(document, Mapping):
        raise errors.SettingsError("the configuration must be a mapping of sections")
    causes = list(_unknown("", document, sections.SECTIONS))
    built: dict[str, Any] = {}
    for name, kind in sections.SECTIONS.items():
        section = document.get(name)
        built[name] = build(kind, {} if section is None else section, name, causes)
    settings = sections.Settings(**built)
    causes += settings.conflicts()
    if causes:
        raise errors.SettingsError("the configuration is wrong:", tuple(causes))
    return settings


def build(kind: type[_S], values: object, section: str, causes: list[errors.Cause]) -> _S:
    """One section as its dataclass; its problems are appended to `causes`.

    A field with a wrong value gets its default, so that rules about several fields can still be
    checked for the others.
    """
    if not isinstance(values, Mapping):
        causes.append(errors.Cause(section, values, "must be a mapping"))
        return kind()
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    causes += _unknown(section + ".", values, fields)
    parsed = {}
    for name, field in fields.items():
        if name in values:
            try:
                parsed[name] = field.metadata["parse"](values[name])
            except (ValueError, ArithmeticError):
                rule = field.metadata["rule"]
                causes.append(errors.Cause(f"{section}.{name}", values[name], rule))
    return kind(**parsed)


def _unknown(
    prefix: str, values: Mapping[Any, Any], fields: Mapping[str, Any]
) -> Iterator[errors.Cause]:
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            hint = (
                f"did you mean {near[0]}?" if near else "known here: " + ", ".join(sorted(fields))
            )
            rule = f"is not a setting; {hint}"
            yield errors.Cause(f"{prefix}{name}", values[name], rule)
