"""Names that a tenant chooses freely, comm and exe aside: hostnames and cgroups below its own."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import capturing, installed, pods

from coredumpd.formats import record as records

pytestmark = capturing.needs_core_pattern

_WITH_HOSTNAME = """
import ctypes, os, socket
assert ctypes.CDLL(None).unshare(0x04000000) == 0  # CLONE_NEWUTS
socket.sethostname({name!r})
os.abort()
"""
OTHER_UID = "11111111-2222-3333-4444-555555555555"
OTHER = f"kubepods/besteffort/pod{OTHER_UID}/{'f' * 64}"


@pytest.mark.parametrize(
    "name",
    [
        b"../../kube-system_victim",
        b"victim \n<0>victim: \r\x1b[2J\t%s%n",
        b"\xff\xfevictim\x80",
        b"victim" * 10,
    ],
    ids=["path", "control", "invalid-utf8", "long"],
)
def test_a_hostname_of_its_own_choice_names_nothing(
    handler: installed.Installed, pod: pods.Pod, name: bytes
) -> None:
    script = _WITH_HOSTNAME.format(name=name)
    entry = capturing.crash(handler, pod, sys.executable, "-c", script)
    assert capturing.belongs(capturing.read(entry), pod)
    assert b"victim" not in (entry / "meta.json").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        b"a b  c",
        b"..:0::" + OTHER.replace("/", "\\").encode(),
        b"...",
        bytes(range(1, 10)) + b"\x0b\x1b[31m\x7f",
        b"\xff\xfe\x80",
        b'","namespace":"kube-system',
        b"kubepods-pod11111111_2222_3333_4444_555555555555.slice:cri-containerd:" + b"f" * 64,
    ],
    ids=["space", "colons", "dots", "control", "invalid-utf8", "json", "slice"],
)
def test_a_cgroup_of_a_hostile_name_stays_one_escaped_word(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, name: bytes
) -> None:
    found = crash_below(handler, pod, crasher, os.fsdecode(name))
    shown = found.raw["process"]["cgroup"]
    assert shown.startswith(pod.path + "/")
    assert shown.isascii()
    assert shown.isprintable()


def test_no_cgroup_can_have_a_newline_in_its_name(pod: pods.Pod) -> None:
    for directory in pod.hierarchies:
        with pytest.raises(OSError, match="Invalid argument") as refused:
            (directory / "x\n0::").mkdir()
        assert refused.value.errno == errno.EINVAL


def test_a_cgroup_path_beyond_4_kb_belongs_to_its_pod_and_is_kept_bounded(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    with contextlib.ExitStack() as stack:
        deepest = [stack.enter_context(deep_below(top, 20)) for top in pod.hierarchies]

        def enter() -> None:
            for directory in deepest:
                os.write(os.open("cgroup.procs", os.O_WRONLY, dir_fd=directory), b"0")

        with capturing.owning(handler):
            process = subprocess.Popen([crasher, "segv"], cwd="/", preexec_fn=enter)
            assert process.wait(timeout=60) < 0
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert 3500 < len(found.raw["process"]["cgroup"]) <= 4096


@contextlib.contextmanager
def deep_below(top: Path, depth: int) -> Iterator[int]:
    """The last of `depth` cgroups in one another, by descriptor: its path is too long to open."""
    name = "d" * 250
    chain = [os.open(top, os.O_RDONLY)]
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=chain[-1])
            chain.append(os.open(name, os.O_RDONLY, dir_fd=chain[-1]))
        yield chain[-1]
    finally:
        while len(chain) > 1:
            os.close(chain.pop())
            os.rmdir(name, dir_fd=chain[-1])
        os.close(chain.pop())


def crash_below(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, below: str
) -> records.CrashRecord:
    """The record of a crash in the cgroup `below` the pod's; belongs to the pod."""
    for directory in pod.hierarchies:
        (directory / below).mkdir(parents=True)
    with capturing.owning(handler):
        process = subprocess.Popen([crasher, "segv"], cwd="/", preexec_fn=lambda: pod.enter(below))
        process.wait(timeout=60)
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert found.raw["containerID"] == pod.container_id
    return found
