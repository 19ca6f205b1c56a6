from __future__ import annotations

import struct

from coredumpd import bpf

CALL, ARGUMENT = 62, 1


def run(program: bytes, architecture: int, number: int, argument: int) -> int:
    """What a filter answers, by the rules of bpf(4) for the instructions that are used here."""
    data = struct.pack("<IIQ", number, architecture, 0) + struct.pack("<QQ", 0, argument)
    position, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("<HBBI", program, position * 8)
        position += 1
        if operation == bpf.RETURN:
            return int(value)
        if operation == bpf.LOAD:
            (loaded,) = struct.unpack_from("<I", data, value)
        else:
            assert operation == bpf.IF_EQUAL
            position += if_true if loaded == value else if_false


def test_a_call_is_allowed_with_the_values_that_are_named_and_no_other() -> None:
    for architecture, _ in bpf.MACHINES.values():
        code = [*bpf.prologue(architecture), *bpf.only_with(CALL, ARGUMENT, (0, 7))]
        program = b"".join([*code, bpf.step(bpf.RETURN, bpf.ENOSYS)])
        assert run(program, architecture, CALL, 7) == bpf.ALLOW
        assert run(program, architecture, CALL, 0) == bpf.ALLOW
        assert run(program, architecture, CALL, 8) == bpf.EPERM
        assert run(program, architecture, CALL + 1, 7) == bpf.ENOSYS
        assert run(program, architecture + 1, CALL, 7) == bpf.KILL


def test_a_call_ends_with_its_result() -> None:
    program = b"".join([*bpf.prologue(1), *bpf.on_call(9, bpf.EPERM), bpf.step(bpf.RETURN, 3)])
    assert run(program, 1, 9, 0) == bpf.EPERM
    assert run(program, 1, 10, 0) == 3
