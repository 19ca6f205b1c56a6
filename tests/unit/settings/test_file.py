from __future__ import annotations

from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.settings import file, sections


def load(tmp_path: Path, text: str) -> sections.Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return file.load(str(path))


def test_sections_are_read(tmp_path: Path) -> None:
    assert load(tmp_path, "policy:\n  maxSize: 2Gi\n").policy.maxSize == 2 << 30


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing\n") == sections.Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy: [", "not YAML"),
        ("policy: {}\npolicy: {}\n", "twice"),
        ("- a\n", "mapping of sections"),
        ("agent: {hostDir: x}\n", "agent.hostDir"),
        ("a: !!python/object/apply:os.system [x]\n", "not YAML"),
    ],
)
def test_a_wrong_file_is_a_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(errors.SettingsError, match=message):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(errors.SettingsError, match="cannot read the configuration /nowhere"):
        file.load("/nowhere")
