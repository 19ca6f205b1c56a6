"""Names of signals and codes, compared with the kernel's own header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coredumpd.handler import signals

HEADER = Path("/usr/include/asm-generic/siginfo.h")
DEFINITION = re.compile(r"#\s*define\s+(_*[A-Z]+_[A-Z_]+)\s+\(?(-?(?:0x)?\d+)\)?\s")
NO_CODES = ("SI_MAX_SIZE", "TRAP_PERF_FLAG_ASYNC")
NUMBERS = {"ILL": 4, "TRAP": 5, "BUS": 7, "FPE": 8, "SEGV": 11, "SYS": 31, "SI": 11}


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (31, "SIGSYS"), (40, None)])
def test_a_signal_has_its_name(number: int, name: str | None) -> None:
    assert signals.name(number) == name


def test_each_code_has_the_name_that_the_kernel_gives_it() -> None:
    codes = [
        (name, int(value, 0))
        for name, value in DEFINITION.findall(HEADER.read_text())
        if name.partition("_")[0] in NUMBERS and name not in NO_CODES
    ]
    assert ("SEGV_MTESERR", 9) in codes
    for name, value in codes:
        assert signals.code_name(NUMBERS[name.partition("_")[0]], value) == name


@pytest.mark.parametrize(("signal", "code"), [(11, 11), (8, 9), (6, 1), (40, 1), (11, -61)])
def test_a_code_that_the_signal_does_not_have_has_no_name(signal: int, code: int) -> None:
    assert signals.code_name(signal, code) is None
