"""Cores read from memory: byte for byte what the kernel itself would have sent."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support import cores, crashers, indexed
from support.node import capturing, corepattern, installed

from coredumpd.elfcore import prologue as prologues
from coredumpd.formats import core_pattern

pytestmark = capturing.needs_core_pattern

# Runs the handler, and then drains what it left in the pipe: the kernel's own core from there on.
_TEE = """\
#!{python} -I
import os, shutil, sys
handler = os.fork()
if handler == 0:
    os.dup2(os.open({rest!r} + ".stderr", os.O_WRONLY | os.O_CREAT), 2)
    os.execv({executable!r}, [{executable!r}, *sys.argv[1:]])
os.waitpid(handler, 0)
with open({rest!r} + ".part", "wb") as sink, open(0, "rb", buffering=0) as source:
    shutil.copyfileobj(source, sink, 1 << 20)
os.rename({rest!r} + ".part", {rest!r})
"""
_MAX_MAP_COUNT = Path("/proc/sys/vm/max_map_count")
_HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")


class Region(NamedTuple):
    """One kind of memory: addresses."""

    name: str
    start: int
    end: int


@contextlib.contextmanager
def setting(path: Path, value: int) -> Iterator[None]:
    before = path.read_text()
    path.write_text(str(value))
    try:
        yield
    finally:
        path.write_text(before)


@contextlib.contextmanager
def swapping(directory: Path) -> Iterator[None]:
    """Swap, where it can be had."""
    file = directory / "swap"
    with file.open("wb") as sink:
        os.fchmod(sink.fileno(), 0o600)
        os.posix_fallocate(sink.fileno(), 0, 64 << 20)
    made = subprocess.run(["mkswap", file], capture_output=True).returncode == 0
    on = made and subprocess.run(["swapon", file], capture_output=True).returncode == 0
    try:
        yield
    finally:
        if on:
            subprocess.run(["swapoff", file], check=True)


def captured_and_sent(handler: installed.Installed, command: list[str]) -> tuple[Path, Path]:
    """A crash's spool entry, and a file of what the handler left in the kernel's pipe."""
    rest = handler.host_dir / "rest"
    tee = handler.host_dir / "tee"
    executable = str(handler.executable)
    tee.write_text(_TEE.format(python=sys.executable, executable=executable, rest=str(rest)))
    tee.chmod(0o755)
    handler.policy(hostCrashes="store")
    with corepattern.borrowed():
        corepattern.SYSCTLS[1].write_text("16")
        corepattern.SYSCTLS[0].write_text(core_pattern.render(str(tee)))
        assert subprocess.run(command, cwd=handler.host_dir).returncode == -6
    return handler.wait_for_entry(), rest


def crash(handler: installed.Installed, *command: object) -> Path:
    """The spool entry of a crash in no pod, while the kernel hands crashes to `handler`."""
    assert subprocess.run([str(word) for word in command], cwd="/").returncode < 0
    return handler.wait_for_entry()


def unpack(entry: Path, target: Path) -> Path:
    with gzip.open(entry / "core.gz") as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    return target


def regions(listing: Path) -> list[Region]:
    lines = [line.split() for line in listing.read_text().splitlines()]
    return [Region(name, int(start, 16), int(end, 16)) for name, start, end in lines]


def difference(core: Path, rest: Path) -> list[int]:
    """Offsets of pages of `core` that differ from the kernel's bytes, whose end is `rest`."""
    start = core.stat().st_size - rest.stat().st_size
    pages = []
    with core.open("rb") as ours, rest.open("rb") as theirs:
        ours.seek(start)
        at = start
        while ours_data := ours.read(1 << 20):
            theirs_data = theirs.read(1 << 20)
            if ours_data != theirs_data:
                pages += [
                    at + page
                    for page in range(0, len(ours_data), 4096)
                    if ours_data[page : page + 4096] != theirs_data[page : page + 4096]
                ]
            at += len(ours_data)
    return pages


def prologue_of(core: Path) -> prologues.Prologue:
    prologue = prologues.Prologue()
    with core.open("rb") as file:
        while prologue.wants_more:
            prologue.feed(file.read(1 << 20))
    return prologue


def named(core: Path, places: list[Region]) -> dict[str, int]:
    """Of each region, how many bytes the core has of it."""
    table = prologue_of(core).segments
    assert table is not None
    sizes = dict.fromkeys((region.name for region in places), 0)
    for segment in table:
        for region in places:
            overlap = min(region.end, segment.vaddr + segment.filesz) - max(
                region.start, segment.vaddr
            )
            sizes[region.name] += max(0, overlap)
    return sizes


def compare(handler: installed.Installed, entry: Path, rest: Path, core: Path) -> None:
    """The core is the kernel's own, and the record describes it."""
    assert difference(core, rest) == []
    record = handler.record(entry)
    assert record["capture"]["source"] == "memory", record["capture"]
    assert record["core"]["size"] == core.stat().st_size
    assert record["core"]["crc32"] == f"{indexed.crc32(core):08x}"
    assert not record["core"]["truncated"]["is"]
    # The stream was read up to the memory, but for the first read of what a pipe holds.
    assert core.stat().st_size - rest.stat().st_size <= max(65536, data_offset(core) + 65536)


def data_offset(core: Path) -> int:
    """Where the memory begins."""
    table = prologue_of(core).segments
    assert table is not None
    assert table.data_offset is not None
    return table.data_offset


def test_every_kind_of_memory_is_stored_as_the_kernel_sends_it(
    handler: installed.Installed, tmp_path: Path
) -> None:
    program = crashers.compiled("crasher_mappings", tmp_path)
    listing = handler.host_dir / "regions"
    with setting(_HUGE_PAGES, 2), swapping(handler.host_dir):
        entry, rest = captured_and_sent(handler, [str(program), str(listing)])
    core = unpack(entry, handler.host_dir / "core")
    compare(handler, entry, rest, core)
    places = regions(listing)
    sizes = named(core, places)
    for region in places:
        expected = 0 if region.name == "not-dumped" else region.end - region.start
        assert sizes[region.name] == expected, region.name


def test_70000_segments_are_stored_as_the_kernel_sends_them(
    handler: installed.Installed, tmp_path: Path
) -> None:
    program = crashers.compiled("crasher_mappings", tmp_path)
    with setting(_MAX_MAP_COUNT, 100_000):
        entry, rest = captured_and_sent(
            handler, [str(program), str(handler.host_dir / "regions"), "segments"]
        )
    core = unpack(entry, handler.host_dir / "core")
    compare(handler, entry, rest, core)
    table = prologue_of(core).segments
    assert table is not None
    assert len(table) > 70_000


def test_by_hand_a_core_is_not_mixed_with_the_memory_of_a_living_process(
    handler: installed.Installed, words: list[str]
) -> None:
    core = cores.elf(9_000_000)
    command = [handler.executable, "handle", *words]
    subprocess.run(command, input=core, env={}, close_fds=False, check=True)
    entry = handler.wait_for_entry()
    capture = handler.record(entry)["capture"]
    assert capture["source"] == "pipe"
    assert capture["sourceReason"] == "its process is not dumping core"
    assert unpack(entry, handler.host_dir / "core").read_bytes() == core


def test_a_process_that_maps_32_gib_and_touches_32_pages_is_whole_and_small(
    handler: installed.Installed, tmp_path: Path
) -> None:
    program = crashers.compiled("crasher_sparse", tmp_path)
    handler.policy(hostCrashes="store", maxSize=64 << 30)
    with capturing.owning(handler):
        entry = crash(handler, program, 32)
    record = handler.record(entry)["core"]
    assert not record["truncated"]["is"]
    assert record["size"] > 32 << 30
    assert record["storedSize"] < 64 << 20
