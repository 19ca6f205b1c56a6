from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import hostdirs

from coredumpd import errors
from coredumpd.agent.node import install
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs


@pytest.fixture
def host_dir() -> Iterator[Path]:
    with hostdirs.temporary() as root:
        install.prepare(root / "h")
        yield root / "h"


def test_what_is_installed_runs_and_only_root_may_touch_it(host_dir: Path) -> None:
    line = install.install(host_dir)
    assert line == core_pattern.render(f"{host_dir}/current/coredumpd")
    launcher = host_dir / "current" / "coredumpd"
    done = subprocess.run([launcher, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("coredumpd ")
    for path in (host_dir, *host_dir.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_installing_again_changes_nothing(host_dir: Path) -> None:
    install.install(host_dir)
    before = {path: path.lstat().st_ino for path in host_dir.rglob("*")}
    install.install(host_dir)
    assert {path: path.lstat().st_ino for path in host_dir.rglob("*")} == before


def test_what_a_killed_install_left_is_removed(host_dir: Path) -> None:
    (host_dir / "versions" / ".new.1").mkdir()
    install.install(host_dir)
    assert [path.name[0] for path in (host_dir / "versions").iterdir()].count(".") == 0


def test_a_damaged_version_is_replaced_not_overwritten(host_dir: Path) -> None:
    install.install(host_dir)
    launcher = host_dir / "current" / "coredumpd"
    good, inode = launcher.read_bytes(), launcher.stat().st_ino
    launcher.write_bytes(good[:10])
    install.install(host_dir)
    assert launcher.read_bytes() == good
    assert launcher.stat().st_ino != inode


def test_an_old_version_goes_when_no_process_runs_it(host_dir: Path) -> None:
    install.install(host_dir)
    old = host_dir / "versions" / "old"
    old.mkdir()
    shutil.copy("/bin/sleep", old / host_dirs.LAUNCHER)
    running = subprocess.Popen([old / host_dirs.LAUNCHER, "60"])
    try:
        end = time.monotonic() + 10  # until the exec has happened
        while os.readlink(f"/proc/{running.pid}/exe") != str(old / host_dirs.LAUNCHER):
            assert time.monotonic() < end
        assert install.remove_old(host_dir) == []
    finally:
        running.kill()
        running.wait()
    assert install.remove_old(host_dir) == ["old"]
    assert (host_dir / "current" / "coredumpd").exists()


def test_a_host_dir_that_cannot_stand_in_core_pattern_is_refused_before_it_is_made(
    tmp_path: Path,
) -> None:
    for name in ("with space", "percent%", "x" * 110):
        with pytest.raises(errors.SettingsError):
            install.prepare(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_removing_everything_leaves_what_is_not_shipped(host_dir: Path) -> None:
    install.install(host_dir)
    (host_dir / "spool" / "app-1").mkdir()
    (host_dir / "spool" / host_dirs.SELF_TEST_ENTRY).mkdir()  # a killed guard's
    assert install.remove_all(host_dir) == ["app-1"]
    assert [path.name for path in host_dir.iterdir()] == ["spool"]
    (host_dir / "spool" / "app-1").rmdir()
    assert install.remove_all(host_dir) == []
    assert not host_dir.exists()
