"""Real crashes through the kernel's core_pattern, in a pod's real cgroup."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import zlib
from pathlib import Path

import pytest
from support import crashers
from support.node import capturing, hanging, installed, pods

from coredumpd.formats import record as records
from coredumpd.spool import owner

pytestmark = capturing.needs_core_pattern


@pytest.fixture(params=["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def mode(request: pytest.FixtureRequest) -> str:
    """How the kernel hands cores over: what comes out must be the same."""
    return str(request.param)


def crash(handler: installed.Installed, mode: str, pod: pods.Pod, *command: object) -> Path:
    """The spool entry of `command`'s crash."""
    with capturing.owning(handler, mode):
        process = pod.start([str(word) for word in command], cwd="/")
        assert process.wait(timeout=60) < 0, "the crasher did not die of a signal"
    return handler.wait_for_entry()


def gdb(program: object, core: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-q", "-batch", "-nx", *words, str(program), str(core)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def interleaved(*commands: str) -> list[str]:
    """The commands, each followed by the end of its line."""
    return [word for command in commands for word in (command, r"echo \n")]


def unpacked(entry: Path, tmp_path: Path) -> Path:
    core = tmp_path / "core"
    core.write_bytes(gzip.decompress((entry / "core.gz").read_bytes()))
    return core


def test_a_crash_in_a_pod_is_recorded_with_its_owner(
    handler: installed.Installed, mode: str, pod: pods.Pod, crasher: Path
) -> None:
    entry = crash(handler, mode, pod, crasher, "segv")
    found = records.CrashRecord.parse((entry / "meta.json").read_bytes())
    assert str(found.key()) == f"shop/{pod.uid}/app/{entry.name}"
    assert found.raw["podName"] == "web-0"
    assert found.raw["containerID"] == pod.container_id
    assert found.raw["image"] == "local/app:1"
    assert found.raw["signal"] == {
        "number": 11,
        "name": "SIGSEGV",
        "code": 1,
        "codeName": "SEGV_MAPERR",
        "address": "0x0",
        "pc": found.raw["signal"]["pc"],
    }
    assert found.raw["process"]["threads"] == 1
    assert found.raw["process"]["comm"] == "crasher"
    assert found.raw["process"]["exe"] == str(crasher)
    assert found.raw["process"]["cgroup"] == pod.path
    assert found.raw["capture"]["attribution"] == "runtime"
    assert found.raw["capture"]["mode"] == mode
    own = json.loads(os.getxattr(entry, owner.ATTRIBUTE))
    assert (own["namespace"], own["podUID"]) == ("shop", pod.uid)
    assert own["containerID"] == pod.container_id


def test_the_stored_core_is_exactly_what_its_record_says(
    handler: installed.Installed, mode: str, pod: pods.Pod, crasher: Path
) -> None:
    entry = crash(handler, mode, pod, crasher, "abort", "0", "9000000")
    assert handler.record(entry)["capture"]["source"] == "memory"
    core = handler.record(entry)["core"]
    stored = (entry / "core.gz").read_bytes()
    data = gzip.decompress(stored)
    assert core["truncated"] == {"is": False, "reason": None, "limit": None}
    assert core["storedSize"] == len(stored)
    assert core["size"] == len(data)
    assert core["crc32"] == f"{zlib.crc32(data):08x}"
    for marker in crashers.HEAP_MARKERS:
        assert marker in data


@pytest.mark.parametrize(
    ("how", "signal_name", "code_name"),
    [
        ("abort", "SIGABRT", "SI_TKILL"),
        ("segv", "SIGSEGV", "SEGV_MAPERR"),
        ("divide", "SIGFPE", "FPE_INTDIV"),
    ],
)
def test_gdb_names_the_signal_and_the_function_and_the_record_says_of_the_fault_what_gdb_does(
    handler: installed.Installed,
    mode: str,
    pod: pods.Pod,
    crasher: Path,
    tmp_path: Path,
    how: str,
    signal_name: str,
    code_name: str,
) -> None:
    entry = crash(handler, mode, pod, crasher, how)
    fields = ("si_code", "_sifields._sigfault.si_addr")
    commands = [f"output/x (long)$_siginfo.{field}" for field in fields]
    said = gdb(
        crasher, unpacked(entry, tmp_path), "bt", *interleaved(*commands, "output/x (long)$pc")
    )
    assert signal_name in said
    assert crashers.FUNCTION in said
    code, address, pc = (int(line, 16) for line in said.splitlines()[-3:])
    fault = handler.record(entry)["signal"]
    assert (fault["name"], fault["codeName"]) == (signal_name, code_name)
    assert (fault["code"] % 2**64, fault["pc"]) == (code, hex(pc))
    assert fault["address"] == (None if how == "abort" else hex(address))


def test_the_thread_that_crashed_is_told_from_the_process(
    handler: installed.Installed, mode: str, pod: pods.Pod, thread_crasher: Path, tmp_path: Path
) -> None:
    entry = crash(handler, mode, pod, thread_crasher, "40")
    process = handler.record(entry)["process"]
    assert process["tid"] != process["pid"]
    assert process["threads"] == 41  # and the main thread
    said = gdb(thread_crasher, unpacked(entry, tmp_path), "bt 1", "info threads", "p/x (long)$pc")
    assert crashers.FUNCTION in said
    assert "40 " in said
    assert said.splitlines()[-1].endswith(f" = {handler.record(entry)['signal']['pc']}")


def test_a_thread_that_crashes_after_the_main_thread_has_gone_is_recorded_with_its_owner(
    handler: installed.Installed, mode: str, pod: pods.Pod, thread_crasher: Path
) -> None:
    record = handler.record(crash(handler, mode, pod, thread_crasher, "4", "exit"))
    assert (record["namespace"], record["podUID"]) == ("shop", pod.uid)
    assert record["process"]["exe"] == str(thread_crasher)
    assert record["process"]["cwd"] == "/"


def test_a_program_on_a_file_system_that_hangs_is_captured(
    handler: installed.Installed, mode: str, pod: pods.Pod, tmp_path: Path
) -> None:
    with (
        hanging.mounted(tmp_path, Path("/bin/busybox")) as (program, hang),
        capturing.owning(handler, mode),
    ):
        process = pod.start([str(program), "sleep", "600"], cwd=str(program.parent))
        hang()
        process.send_signal(signal.SIGSEGV)
        entry = handler.wait_for_entry()
        assert process.wait(timeout=60) == -signal.SIGSEGV
    record = handler.record(entry)
    assert record["process"]["exe"] == str(program)
    assert not record["core"]["truncated"]["is"]


def test_a_python_crash_keeps_its_heap(
    handler: installed.Installed, mode: str, pod: pods.Pod, tmp_path: Path
) -> None:
    entry = crash(handler, mode, pod, *crashers.python_crasher("20"))
    core = handler.record(entry)["core"]
    assert core["size"] > 20_000_000
    assert core["storedSize"] * 5 < core["size"]
    assert handler.record(entry)["id"].startswith("python3.11-")


def test_a_crash_on_the_host_is_ignored_by_default(
    handler: installed.Installed, mode: str, crasher: Path
) -> None:
    with capturing.owning(handler, mode):
        assert subprocess.run([crasher, "abort"], cwd="/").returncode == -6
    assert not handler.spool.exists()


def test_a_crash_on_the_host_is_kept_when_policy_says_so(
    handler: installed.Installed, mode: str, crasher: Path
) -> None:
    handler.policy(hostCrashes="store")
    with capturing.owning(handler, mode):
        assert subprocess.run([crasher, "abort"], cwd="/").returncode == -6
    entry = handler.wait_for_entry()
    key = records.CrashRecord.parse((entry / "meta.json").read_bytes()).key()
    assert str(key) == f"_host/node1/crasher/{entry.name}"


def test_a_core_beyond_max_size_is_cut_marked_and_opens_in_gdb(
    handler: installed.Installed, mode: str, pod: pods.Pod, crasher: Path, tmp_path: Path
) -> None:
    limit = 600_000
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], maxSize=limit)
    entry = crash(handler, mode, pod, crasher, "segv", "0", "50000000")
    core = handler.record(entry)["core"]
    assert core["size"] == limit
    assert core["truncated"]["is"]
    assert core["truncated"]["limit"] == limit
    assert "maxSize" in core["truncated"]["reason"]
    assert "SIGSEGV" in gdb(crasher, unpacked(entry, tmp_path), "info threads")


def test_without_runtime_state_the_pod_is_known_by_its_cgroup(
    handler: installed.Installed, mode: str, pod: pods.Pod, crasher: Path
) -> None:
    (pod.state_dir / pod.container_id / "config.json").unlink()
    entry = crash(handler, mode, pod, crasher, "segv")
    meta = handler.record(entry)
    assert meta["podUID"] == pod.uid
    assert meta["containerID"] == pod.container_id
    assert meta["namespace"] is None
    assert meta["capture"]["attribution"] == "cgroup-only"
