"""Who is believed on the other end of a socket. Real crashes are in tests/integration/capture."""

from __future__ import annotations

import os
import socket

import pytest

from coredumpd import errors
from coredumpd.handler.socket import peer


def test_a_process_that_is_not_dumping_core_is_refused() -> None:
    before = os.listdir("/proc/self/fd")
    theirs, ours = socket.socketpair()
    with theirs, ours, pytest.raises(errors.Forbidden, match="without dumping core"):
        peer.crash(ours.fileno())
    assert os.listdir("/proc/self/fd") == before, "a refused peer leaks descriptors"


def test_a_descriptor_that_is_no_pidfd_is_refused() -> None:
    with open(os.devnull) as file, pytest.raises(errors.Forbidden, match="cannot identify"):
        peer.info(file.fileno())


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        (b"Max core file size        0                    unlimited            bytes     \n", 0),
        (b"Max core file size        4096                 8192                 bytes     \n", 4096),
        (b"Max core file size        unlimited            unlimited            bytes\n", 2**64 - 1),
    ],
)
def test_the_soft_core_limit_is_written_as_the_kernel_does(line: bytes, limit: int) -> None:
    text = (
        b"Limit  Soft  Hard  Units\nMax stack size  1  2  bytes\n" + line + b"Max processes 3 4\n"
    )
    assert peer.core_limit(text) == limit
