"""A real disk that is nearly full: no capture takes it below what its kubelet evicts pods for."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cores
from support.node import installed, mounts, pods

GIB = 1024**3
CORE = cores.elf(48 * 1024 * 1024)


@pytest.fixture
def host_dir(tmp_path: Path) -> Iterator[Path]:
    """On an ext4 of 16 GiB with 2000 inodes, of its own."""
    with mounts.disk(tmp_path, "16G", 2000) as disk:
        (disk / "coredumpd").mkdir(mode=0o700)
        yield disk / "coredumpd"


def free_percent(disk: Path) -> float:
    """nodefs.available, as a kubelet computes it."""
    status = os.statvfs(disk)
    return 100 * status.f_bavail / status.f_blocks


def fill(disk: Path, percent: float) -> None:
    """Leave `percent` of `disk` free; no byte is written for it."""
    status = os.statvfs(disk)
    size = int(status.f_frsize * (status.f_bavail - status.f_blocks * percent / 100))
    with (disk / f"images-{percent}").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def handle(handler: installed.Installed, words: list[str], core: bytes = CORE) -> str:
    """The reason for which `core` was cut, of the one entry there is then; it is removed."""
    command = [handler.executable, "handle", *words]
    done = subprocess.run(command, input=core, capture_output=True, env={}, close_fds=False)
    assert done.returncode == 0, done.stderr
    entry = handler.wait_for_entry()
    truncated = handler.record(entry)["core"]["truncated"]["reason"]
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()
    return str(truncated)


def test_a_disk_stays_above_15_percent_whatever_crashes(
    handler: installed.Installed, host_dir: Path, pod: pods.Pod, words: list[str]
) -> None:
    disk = host_dir.parent
    fill(disk, 20)
    assert handle(handler, words) == "None"
    fill(disk, 15.2)
    assert "its share of what the spool's disk has free (spoolKeepFree)" in handle(handler, words)
    fill(disk, 12)
    before = free_percent(disk)
    assert "stays free for the node (spoolKeepFree)" in handle(handler, words)
    assert free_percent(disk) > before - 0.01
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolKeepFree=GIB)
    assert handle(handler, words) == "None"


def test_a_capture_ends_when_another_program_takes_the_disk(
    handler: installed.Installed, host_dir: Path, words: list[str]
) -> None:
    disk = host_dir.parent
    fill(disk, 20)
    command = [handler.executable, "handle", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={}, close_fds=False)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(CORE[: 4 * 1024 * 1024])
        pipe.flush()
        fill(disk, 14.9)
        with contextlib.suppress(BrokenPipeError):  # it has enough
            pipe.write(CORE[4 * 1024 * 1024 :])
    assert process.wait(timeout=30) == 0
    core = handler.record(handler.wait_for_entry())["core"]
    assert "stays free for the node (spoolKeepFree)" in core["truncated"]["reason"]
    assert 1024**2 <= core["size"] < len(CORE) / 2
    assert free_percent(disk) > 14.8


def test_a_disk_keeps_its_inodes(
    handler: installed.Installed, host_dir: Path, words: list[str]
) -> None:
    disk = host_dir.parent
    status = os.statvfs(disk)
    for number in range(status.f_ffree - status.f_files // 10 - 20):
        (disk / f"layer-{number}").touch()
    assert handle(handler, words, CORE[:100_000]).startswith("the stream ended")
    for number in range(20):
        (disk / f"last-{number}").touch()
    command = [handler.executable, "handle", *words]
    done = subprocess.run(command, input=CORE, capture_output=True, env={}, close_fds=False)
    assert done.returncode != 0
    assert handler.entries() == []
