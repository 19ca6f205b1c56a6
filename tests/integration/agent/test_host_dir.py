"""A hostDir in which no handler can lie: one sentence names what to change. On real mounts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import agents, hostdirs, installed, mounts


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory of root's alone."""
    with hostdirs.temporary() as path:
        yield path


@contextlib.contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `at`, as root's own directory."""
    at.mkdir()
    mounts.mount("-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", at)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def refusal(node: agents.Agent, host_dir: Path) -> str:
    """The one sentence with which an installation ends."""
    done = node.call("install", "--no-core-pattern", "--host-dir", str(host_dir))
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("coredumpd: ")


def test_a_full_disk_is_one_sentence_and_nothing_is_left_behind(
    node: agents.Agent, root: Path
) -> None:
    size = "8k" if node.kind == "source" else "2m"  # the policy fits, the handler does not
    with mounted(root / "small", f"size={size}") as disk:
        text = refusal(node, disk / "h")
        left = os.listdir(disk / "h" / "versions")
    assert text.startswith(f"hostDir {disk}/h: No space left on device: 0B and ")
    assert f" files are left in {disk}" in text
    assert len(text) < 300
    assert left == []


def test_a_disk_without_room_for_the_policy_is_one_sentence(node: agents.Agent, root: Path) -> None:
    with mounted(root / "tiny", "size=4k") as disk:
        text = refusal(node, disk / "h")
        left = [path.name for path in (disk / "h").iterdir() if path.is_file()]
    assert text == f"cannot write {disk}/h/policy.json.last: No space left on device"
    assert left == ["policy.json"]


def test_a_disk_without_inodes_says_so(node: agents.Agent, root: Path) -> None:
    with mounted(root / "few", "nr_inodes=4") as disk:
        text = refusal(node, disk / "h")
    assert f" and 0 files are left in {disk}" in text


@pytest.mark.parametrize(("option", "complaint"), [("ro", "is read-only"), ("noexec", "is noexec")])
@pytest.mark.parametrize("bound", [False, True], ids=["mount", "bind mount"])
def test_a_mount_that_cannot_hold_the_handler_is_named(
    node: agents.Agent, root: Path, option: str, complaint: str, bound: bool
) -> None:
    above = root / "above" if bound else root / "m"
    with mounted(above, "exec") as at, contextlib.ExitStack() as stack:
        if bound:
            at = root / "m"
            at.mkdir()
            mounts.mount("--bind", above, at)
            stack.callback(subprocess.run, ["umount", "--lazy", str(at)], check=True)
            mounts.mount("-o", f"remount,bind,{option}", at)
        else:
            mounts.mount("-o", f"remount,{option}", at)
        text = refusal(node, at / "h")
    assert text.startswith(f"hostDir {at}/h: its file system, mounted at {at}, {complaint}")


@pytest.mark.parametrize("below", ["", "h"])
@pytest.mark.parametrize("kind_of_obstacle", ["dangling", "loop", "file"])
def test_what_stands_in_the_way_is_named(
    node: agents.Agent, root: Path, kind_of_obstacle: str, below: str
) -> None:
    obstacle = root / "o"
    match kind_of_obstacle:
        case "dangling":
            obstacle.symlink_to("/nowhere/to")
            complaint = "is a link to /nowhere/to, which leads nowhere"
        case "loop":
            obstacle.symlink_to(obstacle)
            complaint = f"is a link to {obstacle}, which leads nowhere"
        case _:
            obstacle.touch()
            complaint = "is not a directory"
    assert refusal(node, obstacle / below) == f"hostDir {obstacle / below}: {obstacle} {complaint}"


def test_what_stands_in_the_place_of_a_directory_of_ours_is_named(
    node: agents.Agent, root: Path
) -> None:
    (root / "spool").symlink_to("/nowhere/to")
    text = refusal(node, root)
    assert text == f"hostDir {root}: {root}/spool is a link to /nowhere/to, which leads nowhere"
    (root / "spool").unlink()
    (root / "versions").rmdir()
    (root / "versions").touch()
    assert refusal(node, root) == f"hostDir {root}: {root}/versions is not a directory"


def test_a_temporary_directory_that_is_noexec_is_as_the_known_issues_say(root: Path) -> None:
    """The program cannot say it itself: it ends before its first line."""
    if not installed.FROZEN.exists():
        pytest.skip("dist/coredumpd is missing: make dist")
    issues = (installed.ROOT / "KNOWN_ISSUES.md").read_text()
    symptom = "failed to map segment from shared object"
    assert symptom in issues
    with mounted(root / "tmp", "noexec") as tmp:
        for directory, code in ((tmp, 127), (root, 0)):
            environment = {**os.environ, "TMPDIR": str(directory)}
            command = [str(installed.FROZEN), "--version"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == code
            assert (symptom in done.stderr) == (code != 0)
