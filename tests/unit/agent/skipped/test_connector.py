"""The kernel's connector: what its messages say, and a real subscription where there is one."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import waiting
from support.node import installed

from coredumpd import errors
from coredumpd.agent.skipped import connector
from coredumpd.agent.skipped.connector import Event


def message(what: int, *words: int) -> bytes:
    event = struct.pack("=IIQ", what, 1, 2) + struct.pack("=6I", *words, *[0] * (6 - len(words)))
    return bytes(36) + event


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (message(0x40000000, 8, 7, 1, 1), Event(False, 7, 8, False)),
        (message(0x80000000, 8, 7, 11, 17), Event(True, 7, 8, False)),
        (message(0x80000000, 8, 7, 139, 17), Event(True, 7, 8, True)),
        (message(2, 7, 7), None),
        (b"", None),
    ],
)
def test_a_message_tells_of_a_dump_begun_or_of_an_end(
    datagram: bytes, expected: Event | None
) -> None:
    assert connector.judge(datagram) == expected


@given(st.binary(max_size=100))
def test_no_message_is_too_strange(datagram: bytes) -> None:
    connector.judge(datagram)


@pytest.fixture
def subscription() -> Iterator[connector.Connector]:
    try:
        made = connector.Connector()
    except errors.Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_the_kernel_tells_of_a_crash_and_of_nothing_else_that_goes_on(
    subscription: connector.Connector,
) -> None:
    for _ in range(20):
        subprocess.run(["true"], check=True)
    # The kernel makes no core of a process that is not dumpable, whatever core_pattern is now: a
    # limit of 1 would keep pipe handlers out, but not a capture socket. prctl(2) PR_SET_DUMPABLE: 4
    script = "import ctypes, os; ctypes.CDLL(None).prctl(4, 0); os.abort()"
    crash = subprocess.Popen([sys.executable, "-c", script])
    crash.wait()
    seen: list[Event] = []

    def both() -> bool:
        seen.extend(subscription.read()[0])
        return Event(True, crash.pid, crash.pid, False) in seen

    waiting.until("the end of the process", both, 10, 0.01)
    assert Event(False, crash.pid, crash.pid, False) in seen
    assert subscription.read()[1] is False


def test_from_another_network_the_hosts_is_entered(subscription: connector.Connector) -> None:
    """`subscription` shows only that this machine has a connector."""
    script = (
        "import sys; from coredumpd.agent.node import host_namespaces;"
        " from coredumpd.agent.skipped import connector; host_namespaces.HOST = sys.argv[1];"
        " connector.Connector().close(); print('subscribed')"
    )
    command = ["unshare", "--net", sys.executable, "-c", script, str(os.getpid())]
    assert subprocess.check_output(command, cwd=installed.ROOT) == b"subscribed\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are root's")
def test_a_place_where_the_kernel_does_not_answer_is_told() -> None:
    script = (
        "from coredumpd import errors; from coredumpd.agent.skipped import connector\n"
        "try: connector.Connector(0.2)\n"
        "except errors.Unavailable as error: print(error)"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    assert b"does not answer" in subprocess.check_output(command, cwd=installed.ROOT)


def test_who_is_not_the_kernel_is_not_heard(subscription: connector.Connector) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11) as stranger:
        stranger.bind((0, 0))
        address = subscription._socket.getsockname()[0]
        stranger.sendto(message(0x40000000, 8, 7), (address, 0))
        pids = [event.pid for event in subscription.read()[0]]
    assert 7 not in pids


def test_the_answer_to_another_subscriber_is_not_taken_for_ones_own(
    subscription: connector.Connector,
) -> None:
    """`subscription` hears the answer to the second one, and waits for its own."""
    second = connector.Connector()
    try:
        with pytest.raises(errors.Unavailable, match="does not answer"):
            connector._await_answer(subscription._socket, 1 << 30, 0.2)
    finally:
        second.close()
