"""What somebody planted in the spool is not shipped, not waited for and not written to.

Only root can get there, so this is about a root that was tricked, or one before us.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support import dumps, waiting

WHAT = ["hardlink", "fifo", "device"]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of somebody else's, on the same file system."""
    path = tmp_path / "canary"
    path.write_bytes(dumps.stored(b"not ours"))
    return path


def plant(what: str, path: Path, canary: Path) -> None:
    path.unlink()
    match what:
        case "hardlink":
            os.link(canary, path)
        case "fifo":
            os.mkfifo(path)
        case _:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero: it never ends


@pytest.mark.parametrize("name", ["core.gz", "meta.json"])
@pytest.mark.parametrize("what", WHAT)
def test_what_is_planted_in_a_capture_is_set_aside_and_not_shipped(node, canary, what, name):
    plant(what, dumps.spooled(node.spool, "app-1") / name, canary)
    dumps.spooled(node.spool, "app-2")
    node.start("--no-kubernetes", "--no-core-pattern")
    waiting.until("it to be set aside", (node.spool / "app-1.bad").exists, 30, 0.05)
    waiting.until("the other one", lambda: len(node.stored()) == 1, 30, 0.05)
    assert node.stored()[0].endswith("/app-2")
    assert f"{name} is no plain file" in node.logged()


@pytest.mark.parametrize("name", ["core.gz", "meta.json"])
@pytest.mark.parametrize("what", WHAT)
def test_what_is_planted_in_an_unfinished_capture_is_left_alone(node, canary, what, name):
    before = canary.read_bytes()
    part = node.spool / "app-1.part"
    dumps.spooled(node.spool, "app-1").rename(part)
    plant(what, part / name, canary)
    node.start("--no-kubernetes", "--no-core-pattern")
    waiting.until("the refusal", lambda: "left alone" in node.logged(), 30, 0.05)
    assert f"{name} " in node.logged()
    assert "is no plain file" in node.logged()
    assert canary.read_bytes() == before
    assert part.exists()
    assert node.stored() == []
