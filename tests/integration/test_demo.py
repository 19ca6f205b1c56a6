"""`coredumpd demo`, as a newcomer runs it, with and without root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import corepattern, installed

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture
def program(kind: str) -> Iterator[list[str]]:
    """The command, where any user can run it."""
    if kind == "source":
        yield [sys.executable, "-m", "coredumpd"]
        return
    directory = Path(tempfile.mkdtemp(prefix="cd-"))
    directory.chmod(0o755)
    yield [shutil.copy(installed.FROZEN, directory / "coredumpd")]
    shutil.rmtree(directory)


def run(command: list[str]) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp"}
    done = subprocess.run(
        command, cwd=installed.ROOT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("found: SIGFPE in (/var/lib|/tmp)/coredumpd-demo-", done.stdout)
    assert "divide_the_bill (total=120, guests=0)" in done.stdout
    return done.stdout


@pytest.mark.skipif(not corepattern.writable(), reason="core_pattern is not writable here")
def test_the_demo_goes_the_whole_way_through_the_kernel_and_leaves_no_trace(
    program: list[str],
) -> None:
    with corepattern.borrowed():
        before = [path.read_text() for path in corepattern.SYSCTLS]
        told = run([*program, "demo"])
        assert [path.read_text() for path in corepattern.SYSCTLS] == before
    assert "core_pattern is now |/var/lib/coredumpd-demo-" in told
    assert not Path("/sys/fs/cgroup/systemd/kubepods/besteffort/podc0de0000").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_without_root_the_demo_says_so_and_feeds_the_same_handler(program: list[str]) -> None:
    if subprocess.run([*NOBODY, *program, "--version"], cwd=installed.ROOT).returncode != 0:
        pytest.skip("nobody cannot read this checkout")
    told = run([*NOBODY, *program, "demo"])
    assert "you are not root" in told
    assert "from its standard input" in told


def test_a_wrong_option_is_a_usage_error(program: list[str]) -> None:
    done = subprocess.run(
        [*program, "demo", "--kepe"], cwd=installed.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--kepe" in done.stderr
    assert "Traceback" not in done.stderr
