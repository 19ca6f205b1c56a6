"""Captures on the kernels that nodes run, which are not this machine's: `make kernels`.

A core of 180 MiB and more, so with two threads, by the kernel's own core_pattern; then once more
under strace, for calls that the sandbox should have allowed; then the main thread, a worker and a
worker whose main thread has gone, in pods, with cgroups v1, hybrid and v2. The frozen handler, on a
root that holds a static busybox and no C library.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from support.node import installed, vm

from coredumpd.agent.node import interpreter
from coredumpd.formats import core_pattern

PYTHON = "/user/usr/bin/python3.11"
INSTALLED = "/tmp/host/versions/test"  # where guest.py puts the product
GUEST = Path(__file__).with_name("guest.py")
LANDLOCK_SINCE = (5, 13)
SIZE_MIN = 180 << 20
MACHINES = (
    vm.Machine("bullseye", "amd64"),  # 5.10
    vm.Machine("bookworm", "amd64"),  # 6.1
    vm.Machine("trixie", "amd64"),  # 6.12
    vm.Machine("bookworm", "arm64"),
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_a_large_core_is_captured_whole_and_in_the_sandbox(
    machine: vm.Machine, tmp_path: Path
) -> None:
    try:
        (told,) = machine.boot(tmp_path, files(machine.arch, tmp_path))
    except vm.Missing as error:
        pytest.skip(f"{machine} IS NOT TESTED: {error}")
    for crash in (told["watched"], told["traced"]):
        assert is_whole(crash), crash
    # Seccomp, no_new_privs, no capabilities, none to be had; alone, then two threads.
    nothing = ["2", "1", "0" * 16, "0" * 16]
    assert [*nothing, "2"] in told["watched"]["threads"], told["watched"]["threads"]
    assert told["refused"] == []
    for name, facts in told["pods"].items():
        is_main = name.endswith(" main")
        # The program runs in a chroot, /user.
        assert facts == ["shop", "web-0", True, PYTHON, "/user/opt", is_main], (name, facts)
    assert len(told["pods"]) == 9
    stored = [line for line in told["log"] if "stored" in line]
    assert len(stored) == 2 + len(told["pods"]), told["log"]
    release = tuple(int(number) for number in told["release"].split(".")[:2])
    lacks = [line for line in told["log"] if "capturing without" in line]
    expected = [] if release >= LANDLOCK_SINCE else ["Landlock: the kernel refuses"] * len(stored)
    assert [line.partition("capturing without ")[2] for line in lacks] == expected


def is_whole(crash: dict[str, Any]) -> bool:
    core = crash["core"]
    return (
        crash["signal"] == signal.SIGABRT
        and crash["fault"]["codeName"] == "SI_TKILL"
        and int(crash["fault"]["pc"], 16) > 0
        and not core["truncated"]["is"]
        and core["size"] >= SIZE_MIN
        and crash["stored"] == [core["size"], core["crc32"]]
    )


def files(arch: str, directory: Path) -> dict[str, Path]:
    """The files for the guest's /opt. Raises Missing."""
    line = directory / "pattern"
    line.write_text(core_pattern.render("/{}"))
    frozen = installed.FROZEN if arch == "amd64" else installed.FROZEN.parent / arch / "coredumpd"
    if not frozen.exists():
        raise vm.Missing(f"{frozen} is missing: make dist PLATFORMS=linux/{arch}")
    product = directory / "product"
    shutil.copytree(installed.bundle(frozen), product)
    interpreter.set_interpreter(product / "coredumpd", f"{INSTALLED}/{interpreter.LOADER}")
    return {"guest.py": GUEST, "pattern": line, "product": product}
