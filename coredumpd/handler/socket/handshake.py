"""The protocol that precedes a core on a socket: request, acknowledgement, mark.

include/uapi/linux/coredump.h, Linux 6.17; little-endian because every machine we freeze for is:

    struct coredump_req { __u32 size; __u32 size_ack; __u64 mask; };   the kernel, first
    struct coredump_ack { __u32 size; __u32 spare; __u64 mask; };      we
    enum coredump_mark                                                 the kernel: 4 bytes

`size` lets either side grow: fields that a newer kernel adds are read and ignored.
"""

from __future__ import annotations

import os
import select
import time

from coredumpd import errors

KERNEL, WAIT = 1 << 0, 1 << 3  # bits of both masks
TIMEOUT_S = 10.0  # the kernel answers at once; whoever does not is no kernel
_STRUCT_BYTES = 16
_STRUCT_BYTES_MAX = 4096  # a page: what copy_struct_from_user(9) accepts
_MARKS = {
    1: "our acknowledgement is smaller than it supports (MINSIZE)",
    2: "our acknowledgement is larger than it supports (MAXSIZE)",
    3: "it does not support what we asked for (UNSUPPORTED)",
    4: "what we asked for contradicts itself (CONFLICTING)",
}


def accept(connection: int) -> None:
    """Ask the kernel for the core, and to wait until we close; the core's bytes come next.

    Raises BadRequest for words that are not the protocol, Unavailable when the peer hangs up or
    says nothing.
    """
    deadline = time.monotonic() + TIMEOUT_S
    size = _number(_exactly(connection, 4, deadline))
    if not _STRUCT_BYTES <= size <= _STRUCT_BYTES_MAX:
        raise errors.BadRequest(f"a coredump request of {size} bytes: must be 16 to 4096")
    rest = _exactly(connection, size - 4, deadline)
    size_ack, mask = _number(rest[:4]), _number(rest[4:12])
    if size_ack < _STRUCT_BYTES:
        raise errors.BadRequest(f"an acknowledgement of {size_ack} bytes is asked for: too small")
    if mask & (KERNEL | WAIT) != KERNEL | WAIT:
        raise errors.BadRequest(f"the kernel offers {mask:#x}: neither sending nor waiting")
    _send(connection, KERNEL | WAIT)
    mark = _number(_exactly(connection, 4, deadline))
    if mark != 0:
        raise errors.BadRequest(f"the kernel refused: {_MARKS.get(mark, f'mark {mark}')}")


def _send(connection: int, mask: int) -> None:
    answer = _STRUCT_BYTES.to_bytes(4, "little") + bytes(4) + mask.to_bytes(8, "little")
    try:
        os.write(connection, answer)  # 16 bytes into an empty socket buffer: whole or not at all
    except OSError as error:
        raise errors.Unavailable(f"the kernel hung up: {error.strerror}") from error


def _exactly(connection: int, count: int, deadline: float) -> bytes:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    data = b""
    while len(data) < count:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise errors.Unavailable(f"the peer said nothing for {TIMEOUT_S:g} s")
        try:
            piece = os.read(connection, count - len(data))
        except OSError as error:
            raise errors.Unavailable(f"the kernel hung up: {error.strerror}") from error
        if not piece:
            raise errors.Unavailable("the kernel hung up: the process was killed while it waited")
        data += piece
    return data


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
