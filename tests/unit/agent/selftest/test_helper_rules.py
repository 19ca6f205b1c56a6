from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from coredumpd.agent.selftest import helper_rules

STATIC = 'CONFIG_X=y\nCONFIG_STATIC_USERMODEHELPER=y\nCONFIG_STATIC_USERMODEHELPER_PATH="{}"\n'
NONE = "# CONFIG_STATIC_USERMODEHELPER is not set\n"


@pytest.mark.parametrize(
    "name", ["proc/config.gz", "boot/config-6.9", "usr/lib/modules/6.9/config"]
)
@pytest.mark.parametrize(
    ("text", "helper"),
    [(STATIC.format(""), ""), (STATIC.format("/sbin/helper"), "/sbin/helper"), (NONE, None)],
)
def test_a_static_helper_is_in_the_kernels_configuration(
    tmp_path: Path, name: str, text: str, helper: str | None
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert helper_rules.static_helper(tmp_path, "6.9") == helper


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bgarbage", b"\x1f\x8b\x08\x00cut"])
def test_without_a_readable_configuration_nothing_is_claimed(
    tmp_path: Path, content: bytes
) -> None:
    assert helper_rules.static_helper(tmp_path, "6.9") is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(content)
    assert helper_rules.static_helper(tmp_path, "6.9") is None


@pytest.mark.parametrize(("text", "enforces"), [("1", True), ("0", False), (None, False)])
def test_selinux_counts_only_while_it_enforces(
    tmp_path: Path, text: str | None, enforces: bool
) -> None:
    if text is not None:
        (tmp_path / "sys/fs/selinux").mkdir(parents=True)
        (tmp_path / "sys/fs/selinux/enforce").write_text(text)
    assert helper_rules.selinux_enforces(tmp_path) is enforces


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This machine has no SELinux: the labels of files."""
    attributes: dict[str, str] = {}

    def put(path: str, context: str) -> bool:
        attributes[path] = context
        return True

    monkeypatch.setattr(helper_rules, "label", lambda path: attributes.get(path, ""))
    monkeypatch.setattr(helper_rules, "put_label", put)
    return attributes


def test_the_handler_gets_the_label_of_the_distributions_own_helper(
    labels: dict[str, str], tmp_path: Path
) -> None:
    helper = str(tmp_path / helper_rules.HELPERS[0])
    labels |= {helper: "u:r:systemd_coredump_exec_t", "launcher": "u:r:var_lib_t"}
    assert helper_rules.label_as_helper("launcher", tmp_path) == "u:r:var_lib_t"
    assert labels["launcher"] == "u:r:systemd_coredump_exec_t"
    assert helper_rules.label_as_helper("launcher", tmp_path) is None, "it has it already"


def test_where_no_helper_is_labelled_the_handler_keeps_its_own(
    labels: dict[str, str], tmp_path: Path
) -> None:
    labels["launcher"] = "u:r:var_lib_t"
    assert helper_rules.label_as_helper("launcher", tmp_path) is None
    assert labels == {"launcher": "u:r:var_lib_t"}


def test_a_file_without_a_label_has_none(tmp_path: Path) -> None:
    assert helper_rules.label(str(tmp_path)) == ""
    assert helper_rules.put_label(str(tmp_path / "missing"), "x") is False
