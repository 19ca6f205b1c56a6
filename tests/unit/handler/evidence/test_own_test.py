"""Which process a handler takes for the guard's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coredumpd.formats import core_pattern, self_test
from coredumpd.formats import host_dir as host_dirs
from coredumpd.handler import crash as crashes
from coredumpd.handler.evidence import own_test

OWN = Path("/proc/self/stat").read_bytes()
NAMESPACE = os.stat("/proc/self/ns/pid").st_ino


@pytest.fixture
def crash() -> Iterator[crashes.Crash]:
    """This process, as if it had crashed."""
    args = core_pattern.CrashArgs()
    args.pid = args.ns_pid = os.getpid()
    crash = crashes.Crash(0, args, "", "pipe")
    crash.pin("/proc")
    yield crash
    if crash.directory is not None:
        os.close(crash.directory)


def asked(crash: crashes.Crash, host_dir: Path, data: bytes | None, mode: int = 0o600) -> bool:
    (host_dir / host_dirs.STATE).mkdir()
    if data is not None:
        (host_dir / host_dirs.SELF_TEST).write_bytes(data)
        (host_dir / host_dirs.SELF_TEST).chmod(mode)
    directory = os.open(host_dir, os.O_RDONLY)
    try:
        return own_test.is_named(crash, directory)
    finally:
        os.close(directory)


def test_the_process_that_the_guard_has_named_is_its_own(crash, tmp_path):
    assert asked(crash, tmp_path, self_test.mark(NAMESPACE, os.getpid(), OWN))


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        self_test.mark(NAMESPACE + 1, os.getpid(), OWN),
        self_test.mark(NAMESPACE, os.getpid() + 1, OWN),
        self_test.mark(NAMESPACE, os.getpid(), Path("/proc/1/stat").read_bytes()),
        self_test.mark(NAMESPACE, os.getpid(), OWN) + b"more",
    ],
)
def test_any_other_is_a_crash_like_all(crash, tmp_path, data):
    assert not asked(crash, tmp_path, data)


def test_a_file_that_others_can_write_names_nobody(crash, tmp_path):
    assert not asked(crash, tmp_path, self_test.mark(NAMESPACE, os.getpid(), OWN), 0o666)


def test_a_process_that_has_gone_is_not_the_guards(crash, tmp_path):
    os.close(crash.directory)
    crash.directory = None
    assert not asked(crash, tmp_path, self_test.mark(NAMESPACE, os.getpid(), OWN))
