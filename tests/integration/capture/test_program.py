"""Real crashes out of the ordinary: a program file that is gone, 32 bits, 70,000 mappings."""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers
from support.node import capturing, installed, pods

from coredumpd.elfcore import prologue

pytestmark = capturing.needs_core_pattern

_MEMFD = """
import os, sys
program, name = sys.argv[1:]
fd = os.memfd_create(name)
os.write(fd, open(program, "rb").read())
os.execve(fd, [name, "segv"], {})
"""

# 140,000 pages, in turn two that may be written to and two that may not: 70,000 mappings.
_MANY_MAPPINGS = """
import ctypes, mmap, os
pages = mmap.mmap(-1, 140_000 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc = ctypes.CDLL(None, use_errno=True)
for page in range(0, 140_000, 4):
    if page % 400 == 0:
        pages[page * 4096] = 1
    address = ctypes.c_void_p(start + page * 4096)
    assert libc.mprotect(address, ctypes.c_size_t(8192), mmap.PROT_READ) == 0
os.abort()
"""
_MAPPINGS_MAX = Path("/proc/sys/vm/max_map_count")


@pytest.fixture
def many_mappings() -> Iterator[None]:
    """A process may have more mappings than an ELF header can count."""
    before = _MAPPINGS_MAX.read_text()
    _MAPPINGS_MAX.write_text("200000")
    yield
    _MAPPINGS_MAX.write_text(before)


def crash_after(
    handler: installed.Installed, pod: pods.Pod, program: Path, change: object
) -> dict[str, object]:
    """The record of `program`'s crash; it crashes after `change` was called."""
    command = [program, "segv", "0", "4096", "wait"]
    with capturing.owning(handler):
        process = pod.start(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        assert callable(change)
        change()
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()
    return handler.record(handler.wait_for_entry())


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_program_whose_file_is_gone_keeps_its_path_and_its_name(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, tmp_path: Path, how: str
) -> None:
    program = Path(shutil.copy(crasher, tmp_path / "billing"))
    other = Path(shutil.copy("/bin/true", tmp_path / "newer"))
    change = program.unlink if how == "removed" else lambda: other.rename(program)
    record = crash_after(handler, pod, program, change)
    process = record["process"]
    assert isinstance(process, dict)
    assert (process["exe"], process["exeDeleted"]) == (str(program), True)
    assert str(record["id"]).startswith("billing-2")


def test_a_program_whose_file_is_there_is_not_called_deleted(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    process = handler.record(capturing.crash(handler, pod, crasher, "segv"))["process"]
    assert (process["exe"], process["exeDeleted"]) == (str(crasher), False)


@pytest.mark.parametrize(
    ("name", "start"),
    [("worker", "worker-2"), ("a/../b c", "a.b-c-2"), ("x (deleted)", "x--deleted-2")],
)
def test_a_program_in_memory_has_the_name_that_it_was_given(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, name: str, start: str
) -> None:
    command = [sys.executable, "-c", _MEMFD, crasher, name]
    record = handler.record(capturing.crash(handler, pod, *command))
    assert record["process"]["exe"] == f"/memfd:{name}"
    assert record["process"]["exeDeleted"]
    assert record["id"].startswith(start)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs a 32-bit x86 program")
def test_a_32_bit_process_is_recorded_with_its_fault_and_its_core_cut_half_way_is_marked(
    handler: installed.Installed, pod: pods.Pod, words: list[str], tmp_path: Path
) -> None:
    program = crashers.compiled_32(tmp_path)
    entry = capturing.crash(handler, pod, program)
    record = handler.record(entry)
    assert record["core"]["truncated"] == {"is": False, "reason": None, "limit": None}
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    function = next(line for line in symbols.splitlines() if line.endswith(crashers.FUNCTION))
    fault = record["signal"]
    assert (fault["codeName"], fault["address"]) == ("SEGV_MAPERR", "0xdead0")
    assert 0 <= int(fault["pc"], 16) - int(function.split()[0], 16) < 32
    core = gzip.decompress((entry / "core.gz").read_bytes())
    assert core[4] == 1  # ELFCLASS32
    shutil.rmtree(entry)
    for size in (len(core) // 2, len(core) - 1, 100):
        command = [handler.executable, "handle", *words]
        subprocess.run(command, input=core[:size], env={}, close_fds=False, check=True)
        part = handler.wait_for_entry()
        assert handler.record(part)["core"]["truncated"]["is"], size
        shutil.rmtree(part)
    assert os.listdir(handler.spool) == []


def test_a_core_of_70_000_mappings_is_whole_and_has_its_fault(
    handler: installed.Installed, pod: pods.Pod, many_mappings: None
) -> None:
    entry = capturing.crash(handler, pod, sys.executable, "-c", _MANY_MAPPINGS)
    record = handler.record(entry)
    assert not record["core"]["truncated"]["is"]
    assert record["core"]["malformed"] is None
    assert record["signal"]["codeName"] == "SI_TKILL"
    assert record["signal"]["pc"]
    core = gzip.decompress((entry / "core.gz").read_bytes())
    start = prologue.Prologue()
    start.feed(core)
    assert start.segments is not None
    # elf(5): sh_info of the first section header, the last 64 bytes of this core.
    assert len(start.segments) == struct.unpack("<44xI16x", core[-64:])[0] > 70_000
    assert start.size == len(core)
