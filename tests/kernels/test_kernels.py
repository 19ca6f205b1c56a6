"""Captures on the kernels that nodes run, which are not this machine's: `make kernels`.

A core of 180 MiB and more, so with two threads, by the kernel's own core_pattern; then once more
under strace, for calls that the sandbox should have allowed. The frozen handler on amd64; on arm64
the source, since nothing is built for it here.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.node import installed, vm

from coredumpd.formats import core_pattern

GUEST = Path(__file__).with_name("guest.py")
LANDLOCK_SINCE = (5, 13)
SIZE_MIN = 180 << 20
_SOURCE = """\
#!/usr/bin/python3.11 -I
import sys
sys.path.insert(0, "/opt/site")
from coredumpd import cli
raise SystemExit(cli.main())
"""
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
    stored = [line for line in told["log"] if "stored" in line]
    assert len(stored) == 2, told["log"]
    release = tuple(int(number) for number in told["release"].split(".")[:2])
    lacks = [line for line in told["log"] if "capturing without" in line]
    expected = [] if release >= LANDLOCK_SINCE else ["Landlock: the kernel refuses"] * 2
    assert [line.partition("capturing without ")[2] for line in lacks] == expected


def is_whole(crash: dict[str, Any]) -> bool:
    core = crash["core"]
    return (
        crash["signal"] == signal.SIGABRT
        and not core["truncated"]["is"]
        and core["size"] >= SIZE_MIN
        and crash["stored"] == [core["size"], core["crc32"]]
    )


def files(arch: str, directory: Path) -> dict[str, Path]:
    """What the guest has in /opt. Raises Missing."""
    line = directory / "pattern"
    line.write_text(core_pattern.render("/{}"))
    found = {"guest.py": GUEST, "pattern": line}
    product = directory / "product"
    if arch == "amd64":
        if not installed.FROZEN.exists():
            raise vm.Missing("dist/coredumpd is missing: make dist")
        shutil.copytree(installed.bundle(), product)
        return found | {"product": product}
    product.mkdir()
    (product / "coredumpd").write_text(_SOURCE)
    (product / "coredumpd").chmod(0o755)
    return found | {"product": product, "site": site(arch, directory)}


def site(arch: str, directory: Path) -> Path:
    """The source and its one dependency on the crash path, built for `arch`. Raises Missing."""
    made = directory / "site"
    machine = {"arm64": "aarch64"}[arch]
    shutil.copytree(
        installed.ROOT / "coredumpd",
        made / "coredumpd",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    required = (installed.ROOT / "requirements.txt").read_text().splitlines()
    isal = next(line.split()[0] for line in required if line.startswith("isal"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"):
        command += ["--platform", f"{tag}_{machine}"]
    done = subprocess.run(
        [*command, "--target", str(made), isal], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise vm.Missing(f"pip: {done.stderr.strip().splitlines()[-1:]}")
    return made
