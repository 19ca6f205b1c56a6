"""The words before the core, with the kernel's half spoken by the test."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from coredumpd import errors
from coredumpd.handler.socket import handshake

USERSPACE, REJECT = 1 << 1, 1 << 2  # bits of the masks that we never ask for
ALL = handshake.KERNEL | USERSPACE | REJECT | handshake.WAIT


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel's end and ours."""
    theirs, ours = socket.socketpair()
    with theirs, ours:
        yield theirs, ours


def request(size: int = 16, size_ack: int = 16, mask: int = ALL, extra: bytes = b"") -> bytes:
    return struct.pack("<IIQ", size, size_ack, mask) + extra


def mark(number: int) -> bytes:
    return struct.pack("<I", number)


def test_the_core_is_asked_for_and_its_bytes_are_left_to_the_reader(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    theirs.sendall(request() + mark(0) + b"\x7fELF")
    handshake.accept(ours.fileno())
    assert struct.unpack("<IIQ", theirs.recv(99)) == (16, 0, handshake.KERNEL | handshake.WAIT)
    assert ours.recv(99) == b"\x7fELF"


def test_what_a_newer_kernel_adds_to_its_request_is_skipped(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    theirs.sendall(request(size=40, size_ack=24, extra=b"x" * 24) + mark(0) + b"core")
    handshake.accept(ours.fileno())
    assert ours.recv(99) == b"core"


def test_a_request_that_comes_byte_by_byte_is_understood(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends

    def speak() -> None:
        for byte in request() + mark(0):
            theirs.send(bytes([byte]))

    speaker = threading.Thread(target=speak)
    speaker.start()
    handshake.accept(ours.fileno())
    speaker.join()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (request(size=15), "15 bytes"),
        (request(size=2**32 - 1), "4294967295 bytes"),
        (request(size_ack=8), "8 bytes"),
        (request(mask=handshake.KERNEL), "0x1"),
        (request(mask=handshake.WAIT | USERSPACE), "0xa"),
        (b"GET / HTTP/1.1\r\n\r\n", "542393671 bytes"),
        (request() + mark(1), "MINSIZE"),
        (request() + mark(2), "MAXSIZE"),
        (request() + mark(3), "UNSUPPORTED"),
        (request() + mark(4), "CONFLICTING"),
        (request() + mark(77), "mark 77"),
    ],
)
def test_words_that_are_not_the_protocol_are_refused_by_name(
    ends: tuple[socket.socket, socket.socket], said: bytes, why: str
) -> None:
    theirs, ours = ends
    theirs.sendall(said)
    with pytest.raises(errors.BadRequest, match=why):
        handshake.accept(ours.fileno())


@pytest.mark.parametrize("said", [b"", b"\x10\0", request()[:10], request(), request() + b"\0\0"])
def test_a_peer_that_hangs_up_is_told_from_one_that_errs(
    ends: tuple[socket.socket, socket.socket], said: bytes
) -> None:
    theirs, ours = ends
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(errors.Unavailable, match="hung up"):
        handshake.accept(ours.fileno())


def test_a_peer_that_resets_is_one_that_hung_up(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    theirs.sendall(request())
    theirs.close()
    with pytest.raises(errors.Unavailable, match="hung up"):
        handshake.accept(ours.fileno())


def test_a_silent_peer_is_given_up(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT_S", 0.05)
    _, ours = ends
    with pytest.raises(errors.Unavailable, match="said nothing"):
        handshake.accept(ours.fileno())
    os.fstat(ours.fileno())  # still the caller's to close
