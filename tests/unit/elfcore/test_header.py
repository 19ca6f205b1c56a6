"""Which bytes are the header of an ELF core."""

from __future__ import annotations

import pytest
from support import cores

from coredumpd.elfcore import header


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_classes_and_both_byte_orders_are_read(bits: int, order: str) -> None:
    data = cores.header(7, bits, order, machine=22, sections_at=70_000)
    assert header.size(data) == len(data)
    core = header.parse(data)
    assert (core.bits, core.order, core.machine, core.phnum) == (bits, order, 22, 7)
    assert (core.phoff, core.shoff) == (len(data), 70_000)


@pytest.mark.parametrize(
    ("at", "value", "rule"),
    [
        (16, b"\x02", "e_type is 2, not ET_CORE"),
        (32, b"\x41", "e_phoff is 65, not 64"),
        (54, b"\x20", "e_phentsize is 32, not 56"),
        (56, b"\x00", "it has no program headers"),
    ],
)
def test_a_header_of_another_shape_is_malformed(at: int, value: bytes, rule: str) -> None:
    data = bytearray(cores.header(1))
    data[at : at + 1] = value
    with pytest.raises(header.MalformedError, match=rule):
        header.parse(data)


@pytest.mark.parametrize("at", [4, 5, 6])
def test_a_class_byte_order_or_version_that_elf_does_not_have_is_malformed(at: int) -> None:
    data = bytearray(cores.header(1))
    data[at] = 3
    with pytest.raises(header.MalformedError, match="class, byte order or version"):
        header.size(data)
