from __future__ import annotations

import json
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.agent.node import sysctls

BEFORE = {sysctls.PATTERN: "core.before", sysctls.PIPE_LIMIT: "3", sysctls.SUID_DUMPABLE: "1"}


class Node:
    def __init__(self, directory: Path, suid_dumpable: int | None = None) -> None:
        self.proc_sys = directory / "sys"
        self.host_dir = directory / "host"
        (self.host_dir / "state").mkdir(parents=True, exist_ok=True)
        self.line = f"|{self.host_dir}/current/coredumpd handle %P"
        self.kernel = sysctls.CoreSysctls(
            self.host_dir, self.line, 16, suid_dumpable, proc_sys=self.proc_sys
        )

    def set(self, **values: str) -> None:
        for name, value in values.items():
            path = self.proc_sys / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")

    def values(self) -> dict[str, str]:
        return {name: (self.proc_sys / name).read_text().rstrip("\n") for name in BEFORE}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.set(**BEFORE)
    return made


def test_what_was_there_comes_back(node: Node) -> None:
    node.kernel.save_original()
    node.kernel.apply()
    assert node.values() == BEFORE | {sysctls.PATTERN: node.line, sysctls.PIPE_LIMIT: "16"}
    assert node.kernel.drift() == {}
    node.kernel.restore()
    assert node.values() == BEFORE
    assert "left as it is" in node.kernel.restore()


def test_suid_dumpable_is_ours_only_when_it_is_set(node: Node, tmp_path: Path) -> None:
    other = Node(tmp_path, suid_dumpable=2)
    other.kernel.save_original()
    other.kernel.apply()
    assert other.values()[sysctls.SUID_DUMPABLE] == "2"
    other.kernel.restore()
    assert other.values() == BEFORE


def test_the_original_is_never_overwritten_by_ours(node: Node) -> None:
    node.kernel.save_original()
    node.kernel.apply()
    node.kernel.save_original()
    node.kernel.restore()
    assert node.values() == BEFORE


def test_ours_without_a_memory_goes_back_to_the_kernels_default(node: Node) -> None:
    node.set(**{sysctls.PATTERN: node.line, sysctls.PIPE_LIMIT: "16"})
    node.kernel.save_original()
    node.kernel.restore()
    assert node.values()[sysctls.PATTERN] == "core"
    assert node.values()[sysctls.PIPE_LIMIT] == "0"


def test_another_installations_pattern_is_not_ours_to_restore(node: Node) -> None:
    node.kernel.save_original()
    node.set(**{sysctls.PATTERN: "|/elsewhere/current/coredumpd handle %P"})
    assert "not ours" in node.kernel.restore()
    assert node.values()[sysctls.PATTERN] == "|/elsewhere/current/coredumpd handle %P"


def test_a_memory_that_cannot_be_read_is_an_error_that_names_the_file(node: Node) -> None:
    node.kernel.save_original()
    node.kernel.apply()
    (node.host_dir / "state" / "original.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(errors.BadRecord, match=r"original\.json"):
        node.kernel.restore()


def test_a_kernel_that_refuses_is_a_clear_error(node: Node, tmp_path: Path) -> None:
    (node.proc_sys / sysctls.PATTERN).unlink()
    (node.proc_sys / sysctls.PATTERN).symlink_to("/proc/version")  # readable, not writable
    with pytest.raises(errors.Forbidden, match="must be root"):
        node.kernel.apply()


def test_a_value_that_does_not_stick_is_an_error(node: Node) -> None:
    (node.proc_sys / sysctls.PATTERN).unlink()
    (node.proc_sys / sysctls.PATTERN).symlink_to("/dev/null")
    with pytest.raises(errors.Forbidden, match="read back"):
        node.kernel.apply()


def test_bytes_that_are_no_text_survive_the_round_trip(node: Node) -> None:
    (node.proc_sys / sysctls.PATTERN).write_bytes(b"core.\xff\xfe\n")
    node.kernel.save_original()
    node.kernel.apply()
    node.kernel.restore()
    assert (node.proc_sys / sysctls.PATTERN).read_bytes() == b"core.\xff\xfe\n"
