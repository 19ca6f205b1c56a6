"""Slots are held by real processes, and are free the moment these are gone, however they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting

from coredumpd.handler import shares, slots

FILE = "captures.slots"
HOLD = """
import os, sys, time
from coredumpd.handler import shares, slots
directory = os.open(sys.argv[1], os.O_RDONLY)
holder = shares.Holder(*sys.argv[3:5])
print(slots.take(directory, "captures.slots", int(sys.argv[2]), holder), flush=True)
time.sleep(600)
"""


@pytest.fixture
def host_dir(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@contextlib.contextmanager
def held(directory: Path, count: int, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes that asked; those that were refused have ended."""
    words = [sys.executable, "-c", HOLD, str(directory), "16", *names]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_many_processes_of_one_pod_half_get_a_slot_and_a_neighbour_gets_one(
    tmp_path: Path, host_dir: int
) -> None:
    with held(tmp_path, 12, "shop", "uid-1") as greedy:
        answers = [answer(process) for process in greedy]
        assert answers.count("None") == 8
        why = "its pod has its share, 4 of 16 slots, and others need what is free"
        assert {why} == set(answers) - {"None"}
        assert slots.take(host_dir, FILE, 16, shares.Holder("team-a", "uid-2")) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_slot_is_free_when_its_process_has_ended(
    tmp_path: Path, host_dir: int, number: int
) -> None:
    asking = shares.Holder("shop", "uid-1")
    with held(tmp_path, 8, "shop", "uid-1") as greedy:
        assert [answer(process) for process in greedy] == ["None"] * 8
        assert slots.take(host_dir, FILE, 16, asking) is not None
        greedy[0].send_signal(number)
        greedy[0].wait(30)
        assert slots.take(host_dir, FILE, 16, asking) is None


def test_who_waits_gets_the_slot_that_becomes_free(tmp_path: Path, host_dir: int) -> None:
    asking = shares.Holder("shop", "uid-1")
    now = time.monotonic()
    with held(tmp_path, 8, "shop", "uid-1") as greedy:
        assert [answer(process) for process in greedy] == ["None"] * 8
        assert slots.wait(host_dir, FILE, 16, asking, now) is not None  # its deadline has passed
        waiter = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {greedy[1].pid}"])
        assert slots.wait(host_dir, FILE, 16, asking, now + 60) is None
        waiter.wait(30)


@pytest.mark.parametrize("planted", ["fifo", "link", "hardlink", "writable", "directory"])
def test_a_file_that_is_not_ours_costs_the_shares_and_no_capture(
    tmp_path: Path, host_dir: int, planted: str
) -> None:
    path, other = tmp_path / FILE, tmp_path / "other"
    other.write_bytes(b"not ours")
    match planted:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(other)
        case "hardlink":
            os.link(other, path)
        case "writable":
            path.touch()
            path.chmod(0o666)
        case _:
            path.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    assert slots.take(host_dir, FILE, 16, shares.Holder("shop", "uid-1")) is None
    assert other.read_bytes() == b"not ours"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_refusal_leaves_no_descriptor(tmp_path: Path, host_dir: int) -> None:
    with held(tmp_path, 8, "shop", "uid-1") as greedy:
        waiting.until("slots", lambda: all(answer(process) for process in greedy), 30)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert slots.take(host_dir, FILE, 16, shares.Holder("shop", "uid-1")) is not None
        assert len(os.listdir("/proc/self/fd")) == before
