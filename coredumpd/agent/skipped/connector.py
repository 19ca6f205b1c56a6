"""The kernel's events about every process that begins to dump core: the proc connector (netlink).

include/uapi/linux/{connector,cn_proc}.h; CONFIG_PROC_EVENTS. It is not rate-limited and reports
pids of the initial namespace. It answers only in the initial network, user and PID namespaces:
`host_namespaces` enters the first, a privileged pod with `hostPID` is in the others.

A filter in the kernel (classic BPF, socket(7)) keeps a node's forks and execs from waking the
agent. Big endian is handled, but was never tried.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import sys
import time
from typing import NamedTuple

from coredumpd import errors
from coredumpd.agent.node import host_namespaces

EVENT_BYTES_MAX = 4096
EVENTS_AT_ONCE_MAX = 1000
ANSWER_S = 2.0  # the kernel answers at once, or never
BUFFER_BYTES = 16 * 1024 * 1024  # the threads of a process end at once, and it can have 10,000

_NETLINK_CONNECTOR, _PROC = 11, 1  # the protocol; CN_IDX_PROC, also CN_VAL_PROC and the group
_LISTEN, _IGNORE = 1, 2  # enum proc_cn_mcast_op
_NONE, _COREDUMP, _EXIT = 0, 0x40000000, 0x80000000  # enum proc_cn_event
_HEAD = struct.Struct("=IHHII")  # struct nlmsghdr
_MESSAGE = struct.Struct("=IIIIHH")  # struct cn_msg
_EVENT = struct.Struct("=IIQIII")  # struct proc_event: what, cpu, time, pid, tgid, exit_code
_AT_ACK = _HEAD.size + 12
_AT_WHAT = _HEAD.size + _MESSAGE.size
_AT_CODE = _AT_WHAT + 24
_DUMPED, _SIGNAL = 0x80, 0x7F  # of an exit code, as in wait(2)
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33  # asm-generic/socket.h


class Event(NamedTuple):
    """A thread begins to dump core, or has ended."""

    ended: bool
    pid: int
    tid: int
    dumped: bool


def judge(datagram: bytes) -> Event | None:
    """The event that one message reports; None for any other message. Pure."""
    if len(datagram) < _AT_WHAT + _EVENT.size:
        return None
    what, _, _, tid, pid, code = _EVENT.unpack_from(datagram, _AT_WHAT)
    if what == _COREDUMP:
        return Event(False, pid, tid, False)
    if what == _EXIT:
        return Event(True, pid, tid, bool(code & _DUMPED))
    return None


class Connector:
    """A subscription."""

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        """Subscribe. Blocks for up to `answer_s`; raises Unavailable where that is impossible."""
        try:
            self._socket = host_namespaces.call_in_network(lambda: _subscribed(answer_s))
        except errors.Forbidden as error:
            raise errors.Unavailable(str(error)) from error

    def fileno(self) -> int:
        """A descriptor that is readable when events wait."""
        return self._socket.fileno()

    def read(self) -> tuple[list[Event], bool]:
        """A bounded number of events, and whether any were lost."""
        events, lost = [], False
        for _ in range(EVENTS_AT_ONCE_MAX):
            try:
                datagram, (sender, _) = self._socket.recvfrom(EVENT_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: the buffer was full; the next read goes on
                lost = True
                continue
            event = judge(datagram) if sender == 0 else None  # 0: the kernel
            if event is not None:
                events.append(event)
        return events, lost

    def close(self) -> None:
        # Before Linux 6.6 the kernel goes on making events until it is told to stop.
        self._socket.send(_operation(_IGNORE))
        self._socket.close()


def _subscribed(answer_s: float) -> socket.socket:
    try:
        netlink = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
        )
    except OSError as error:
        raise errors.Unavailable(f"this kernel has no connector: {error.strerror}") from error
    try:
        netlink.setblocking(False)
        _filter(netlink)
        netlink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        netlink.bind((0, _PROC))
        question = int.from_bytes(os.urandom(3), "big")
        netlink.send(_operation(_LISTEN, question))
        _await_answer(netlink, question, answer_s)
    except OSError as error:
        netlink.close()
        raise errors.Unavailable(f"the proc connector: {error.strerror}") from error
    except errors.Unavailable:
        netlink.close()
        raise
    return netlink


def _await_answer(netlink: socket.socket, question: int, answer_s: float) -> None:
    """Wait for the answer to a subscription, an event of no kind. Foreign namespaces get none.

    Every subscriber receives each answer; ours has our number plus one (cn_proc_ack).
    """
    poll = select.poll()
    poll.register(netlink, select.POLLIN)
    deadline = time.monotonic() + answer_s
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        datagram, (sender, _) = netlink.recvfrom(EVENT_BYTES_MAX)
        ours = datagram[_AT_ACK : _AT_ACK + 4] == struct.pack("=I", question + 1)
        if ours and sender == 0 and len(datagram) >= _AT_WHAT + 24:
            what, _, _, number = struct.unpack_from("=IIQI", datagram, _AT_WHAT)
            if what == _NONE and number == 0:
                return
            if what == _NONE:
                raise errors.Unavailable(f"the proc connector refuses: {os.strerror(number)}")
    raise errors.Unavailable(
        "the proc connector does not answer: not in the initial PID namespace, or the kernel is"
        " without CONFIG_PROC_EVENTS"
    )


def _operation(number: int, question: int = 0) -> bytes:
    payload = struct.pack("=I", number)
    message = _MESSAGE.pack(_PROC, _PROC, 0, question, len(payload), 0) + payload
    return _HEAD.pack(_HEAD.size + len(message), 3, 0, 0, 0) + message  # 3: NLMSG_DONE


def _filter(netlink: socket.socket) -> None:
    """Let through: core dumps begun, threads ended by a signal, and the kernel's answer."""
    load_word, load_byte, mask, equals, leave = 0x20, 0x30, 0x54, 0x15, 0x06
    low_byte = _AT_CODE if sys.byteorder == "little" else _AT_CODE + 3
    steps = (  # code, steps to skip if true, if false, operand
        (load_word, 0, 0, _AT_WHAT),
        (equals, 5, 0, socket.htonl(_COREDUMP)),  # BPF reads words in network order
        (equals, 4, 0, _NONE),
        (equals, 0, 4, socket.htonl(_EXIT)),
        (load_byte, 0, 0, low_byte),
        (mask, 0, 0, _SIGNAL),
        (equals, 1, 0, 0),
        (leave, 0, 0, EVENT_BYTES_MAX),
        (leave, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    netlink.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(steps), ctypes.addressof(program)),
    )
