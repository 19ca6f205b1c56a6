"""The configuration file: YAML in, checked settings out. Owner of the `pyyaml` dependency."""

from __future__ import annotations

from typing import Any

import yaml

from coredumpd import errors, settings

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
    return settings.check({} if document is None else document)


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
