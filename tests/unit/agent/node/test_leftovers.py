"""Only what a killed process of this program left is removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from coredumpd.agent.node import install, leftovers

needs_every_pid = pytest.mark.skipif(
    not install.in_first_pid_namespace(), reason="not every process of the machine is seen here"
)


def unpacked(directory: Path, name: str, age_s: float = 2 * leftovers.YOUNG_S) -> Path:
    """As the frozen executable leaves it."""
    path = directory / name
    (path / install.BUNDLED_LAUNCHER).parent.mkdir(parents=True)
    (path / install.BUNDLED_LAUNCHER).touch()
    path.chmod(0o700)
    shutil.copy("/bin/sleep", path / "sleep")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


@needs_every_pid
def test_what_a_dead_process_left_goes_and_all_else_stays(tmp_path: Path) -> None:
    unpacked(tmp_path, "_MEIdead00")
    unpacked(tmp_path, "_MEIyoung0", age_s=0)
    unpacked(tmp_path, "_MEIgroup0").chmod(0o770)
    os.chown(unpacked(tmp_path, "_MEIother0"), 65534, -1)
    (tmp_path / "_MEIforeign").mkdir(0o700)
    os.utime(tmp_path / "_MEIforeign", (0, 0))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "_MEIlink00").symlink_to(unpacked(tmp_path / "elsewhere", "_MEIdead01"))
    (tmp_path / "_MEIfile00").touch()
    alive = unpacked(tmp_path, "_MEIalive0")
    before = set(os.listdir(tmp_path))
    process = subprocess.Popen([alive / "sleep", "600"])
    try:
        end = time.monotonic() + 30  # until the exec has happened
        while b"_MEIalive0" not in Path(f"/proc/{process.pid}/maps").read_bytes():
            assert time.monotonic() < end
        assert leftovers.clear(tmp_path) == ["_MEIdead00"]
    finally:
        process.kill()
        process.wait()
    assert set(os.listdir(tmp_path)) == before - {"_MEIdead00"}
    assert (tmp_path / "elsewhere" / "_MEIdead01").exists()
    assert leftovers.clear(tmp_path) == ["_MEIalive0"]
