"""The interpreter that an ELF file names, changed in place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from coredumpd import errors
from coredumpd.agent.node import interpreter


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return Path(shutil.copy("/bin/echo", tmp_path / "echo"))


def test_the_interpreter_that_was_set_is_the_one_that_is_read(program: Path) -> None:
    path = "/srv/" + "d" * 300 + "/ld.so"
    interpreter.set_interpreter(program, path)
    assert interpreter.interpreter_of(program) == path


def test_the_kernel_starts_the_program_by_the_interpreter_that_was_set(
    program: Path, tmp_path: Path
) -> None:
    loader = tmp_path / "ld.so"
    interpreter.set_interpreter(program, str(loader))
    with pytest.raises(FileNotFoundError):
        subprocess.run([program, "hello"])
    shutil.copy(os.path.realpath(interpreter.interpreter_of(Path("/bin/echo"))), loader)
    done = subprocess.run([program, "hello"], capture_output=True, text=True)
    assert done.stdout == "hello\n"


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x01"]
)
def test_what_is_no_64_bit_elf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(errors.BadRecord, match="not a 64-bit little-endian ELF file"):
        interpreter.set_interpreter(path, "/ld.so")
    assert path.read_bytes() == content


def test_a_static_program_has_no_interpreter_to_set(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/busybox", tmp_path / "busybox"))
    with pytest.raises(errors.BadRecord, match="no PT_INTERP"):
        interpreter.set_interpreter(program, "/ld.so")
