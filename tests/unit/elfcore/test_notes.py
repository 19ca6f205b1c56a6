"""The notes of a core: the facts of the thread that crashed, for each machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import cores

from coredumpd.elfcore import header, notes

SIGTRAP, SIGSEGV, SIGABRT, SIGSYS = 5, 11, 6, 31


def of_machine(machine: int = 62, bits: int = 64, order: str = "<") -> header.Header:
    return header.parse(cores.header(1, bits, order, machine))


@pytest.mark.parametrize(
    ("machine", "bits", "registers_at", "index"),
    [(62, 64, 112, 16), (3, 32, 72, 12), (183, 64, 112, 32), (40, 32, 72, 15)],
)
def test_the_program_counter_is_that_of_the_first_thread(
    machine: int, bits: int, registers_at: int, index: int
) -> None:
    data = b"".join(
        cores.prstatus(registers_at, [thread * 1000 + n for n in range(index + 2)], bits)
        for thread in (1, 2)
    )
    facts = notes.fault(of_machine(machine, bits), data)
    assert facts.pc == 1000 + index


def test_a_machine_whose_registers_are_not_known_has_no_program_counter() -> None:
    order = ">"
    data = cores.prstatus(112, range(20), order=order) + cores.siginfo(11, 1, 0x1234, order=order)
    facts = notes.fault(of_machine(22, 64, order), data)
    assert (facts.pc, facts.signal, facts.code, facts.address) == (None, 11, 1, 0x1234)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_address_of_a_fault_is_read_in_both_classes_and_orders(bits: int, order: str) -> None:
    data = cores.siginfo(SIGSEGV, 2, 0xFFFF0123, bits, order)
    facts = notes.fault(of_machine(22, bits, order), data)
    assert (facts.signal, facts.code, facts.address) == (SIGSEGV, 2, 0xFFFF0123)


@pytest.mark.parametrize(
    ("signal", "code"),
    [(SIGSEGV, notes.SI_KERNEL), (SIGTRAP, notes.SI_KERNEL), (SIGSEGV, 0), (SIGABRT, -6)],
)
def test_a_signal_that_somebody_sent_has_no_address(signal: int, code: int) -> None:
    facts = notes.fault(of_machine(), cores.siginfo(signal, code, 77))
    assert (facts.signal, facts.code, facts.address) == (signal, code, None)


def test_notes_of_another_owner_are_passed_over() -> None:
    data = cores.note(1, bytes(400), b"LINUX") + cores.siginfo(SIGSEGV, 1, 5)
    facts = notes.fault(of_machine(), data)
    assert (facts.pc, facts.address) == (None, 5)


def test_a_note_cut_short_is_no_note() -> None:
    data = cores.siginfo(SIGSEGV, 1, 5)
    assert [len(list(notes.each(of_machine(), data[:end]))) for end in (11, 100, 148)] == [0, 0, 1]


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=40))), st.sampled_from("<>")
)
def test_notes_are_read_as_they_were_written(rows: list[tuple[int, bytes]], order: str) -> None:
    data = b"".join(cores.note(kind, desc, order=order) for kind, desc in rows)
    read = [(note.type, note.desc) for note in notes.each(of_machine(order=order), data)]
    assert read == rows


@given(st.binary(max_size=600), st.sampled_from([62, 3, 183, 40, 8]), st.sampled_from([32, 64]))
def test_any_bytes_are_notes_or_none(data: bytes, machine: int, bits: int) -> None:
    notes.fault(of_machine(machine, bits), data)
