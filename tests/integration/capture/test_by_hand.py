"""The installed handler started by hand, the core on its stdin: limits and mistakes."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support import cores
from support.node import installed, pods

RESIDENT_KIB_MAX = 40 * 1024


def handle(
    handler: installed.Installed, words: list[str], core: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = [handler.executable, "handle", *words]
    return subprocess.run(command, input=core, capture_output=True, env={}, close_fds=False)


def test_a_core_on_stdin_is_stored(handler: installed.Installed, words: list[str]) -> None:
    core = cores.elf(3_000_000)
    done = handle(handler, words, core)
    assert (done.returncode, done.stderr) == (0, b"")
    entry = handler.wait_for_entry()
    assert gzip.decompress((entry / "core.gz").read_bytes()) == core
    assert handler.record(entry)["namespace"] == "shop"
    assert not handler.record(entry)["core"]["truncated"]["is"]


@pytest.mark.parametrize(("bits", "order"), [(64, "<"), (32, "<"), (64, ">"), (32, ">")])
def test_a_core_cut_half_way_is_kept_and_marked(
    handler: installed.Installed, words: list[str], bits: int, order: str
) -> None:
    core = cores.written([3_000_000], b"", bits, order)[:1_500_000]
    assert handle(handler, words, core).returncode == 0
    entry = handler.wait_for_entry()
    assert gzip.decompress((entry / "core.gz").read_bytes()) == core
    truncated = handler.record(entry)["core"]["truncated"]
    assert truncated["is"]
    assert "before the size its headers state" in truncated["reason"]


def test_the_fault_in_a_core_of_another_machine_is_recorded_without_its_registers(
    handler: installed.Installed, words: list[str]
) -> None:
    notes = cores.prstatus(112, range(24), order=">") + cores.siginfo(11, 2, 0xABCDEF, order=">")
    s390x = 22
    assert handle(handler, words, cores.written([5000], notes, 64, ">", s390x)).returncode == 0
    record = handler.record(handler.wait_for_entry())
    assert not record["core"]["truncated"]["is"]
    assert record["signal"]["codeName"] == "SEGV_ACCERR"
    assert (record["signal"]["address"], record["signal"]["pc"]) == ("0xabcdef", None)


def test_a_core_of_zero_bytes_is_recorded(handler: installed.Installed, words: list[str]) -> None:
    assert handle(handler, words, b"").returncode == 0
    core = handler.record(handler.wait_for_entry())["core"]
    assert (core["size"], core["crc32"]) == (0, "00000000")
    assert core["truncated"]["reason"] == "the kernel sent nothing"


def test_memory_stays_flat_for_a_core_of_4_gib(
    handler: installed.Installed, words: list[str]
) -> None:
    size = 4 * 1024**3
    chunk = os.urandom(1024 * 1024) + bytes(15 * 1024 * 1024)
    process = subprocess.Popen(
        [handler.executable, "handle", *words], stdin=subprocess.PIPE, env={}, close_fds=False
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        for _ in range(size // len(chunk)):
            pipe.write(chunk)
        # Not ru_maxrss: it counts this test's own memory, from before exec.
        resident_kib = peak_kib(process.pid)
    assert process.wait(timeout=60) == 0
    entry = handler.wait_for_entry()
    assert handler.record(entry)["core"]["size"] == size
    assert resident_kib <= RESIDENT_KIB_MAX


def peak_kib(pid: int) -> int:
    """VmHWM: the most a process has had resident since it began its program."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_wrong_words_are_each_named_with_their_rule(handler: installed.Installed) -> None:
    words = ["abc", "1", "1", "1", "0", "0", "99", "1", "0", "1", ""]
    done = handle(handler, words)
    said = done.stderr.decode()
    assert done.returncode == 2
    assert "pid: 'abc': %P" in said
    assert "signal: '99': %s" in said
    assert "must be a number from 0 to 64" in said
    assert "Traceback" not in said


def test_missing_words_are_named(handler: installed.Installed) -> None:
    done = handle(handler, ["1"])
    assert done.returncode == 2
    assert "dump_mode: '': %d" in done.stderr.decode()


def test_a_spool_that_cannot_be_used_is_a_clear_error(
    handler: installed.Installed, words: list[str]
) -> None:
    handler.spool.write_text("in the way")
    done = handle(handler, words, b"core")
    assert done.returncode == 74
    assert f"cannot use the directory {handler.spool}" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_spool_that_others_can_write_is_refused(
    handler: installed.Installed, words: list[str]
) -> None:
    handler.spool.mkdir()
    handler.spool.chmod(0o777)
    done = handle(handler, words, b"core")
    assert done.returncode == 77
    assert "writable by nobody else" in done.stderr.decode()
    assert handler.entries() == []


@pytest.mark.parametrize("how", ["writable", "missing", "huge", "junk"])
def test_without_a_policy_that_can_be_believed_nothing_is_captured_and_the_log_says_so(
    handler: installed.Installed, words: list[str], how: str
) -> None:
    handler.policy(maxSize=10)
    path = handler.host_dir / "policy.json"
    match how:
        case "writable":
            path.chmod(0o666)
        case "missing":
            path.unlink()
        case "huge":
            with path.open("ab") as file:
                file.write(b" " * 9_000_000)
        case _:
            path.write_bytes(b"{")
    refused = handle(handler, words, b"x" * 100)
    assert refused.returncode != 0
    assert b"policy" in refused.stderr
    assert handler.entries() == []


@pytest.mark.parametrize("size", [0, 9_000_000])
def test_the_last_good_policy_holds_while_the_new_one_cannot_be_read(
    handler: installed.Installed, pod: pods.Pod, words: list[str], size: int
) -> None:
    last = {"runtimeStateDirs": [str(pod.state_dir)], "maxSize": 70_000}
    (handler.host_dir / "policy.json").write_bytes(b" " * size)
    handler.policy("policy.json.last", **last)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    assert handler.record(handler.wait_for_entry())["core"]["size"] == 70_000
    opted_out = {"namespaces": {"shop": {"capture": "disabled"}}}
    handler.policy("policy.json.last", **last | opted_out)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    assert len(handler.entries()) == 1


def test_a_full_share_of_the_spool_cuts_its_own_core_and_not_a_neighbours(
    handler: installed.Installed, pod: pods.Pod, words: list[str], tmp_path: Path
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolMaxUse=40_000_000, spoolKeepFree=0)
    for core in (cores.elf(9_000_000), cores.elf(9_000_000), cores.elf(3_000_000)):
        assert handle(handler, words, core).returncode == 0
    reasons = [truncated(handler, entry) for entry in handler.entries()]
    assert any(reason and "its share of the spool" in reason for reason in reasons)
    before = set(handler.entries())
    with pods.running(tmp_path / "runtime", namespace="team-a", name="neighbour") as neighbour:
        process = neighbour.start(["sleep", "600"])
        core = cores.elf(9_000_000)
        assert handle(handler, installed.arguments(process), core).returncode != 0  # not dumping
        pidfd = os.pidfd_open(process.pid)
        os.set_inheritable(pidfd, True)
        assert handle(handler, installed.arguments(process, pidfd=pidfd), core).returncode == 0
        os.close(pidfd)
        process.kill()
        process.wait()
    (entry,) = set(handler.entries()) - before
    assert truncated(handler, entry) is None
    assert gzip.decompress((entry / "core.gz").read_bytes()) == core


def truncated(handler: installed.Installed, entry: Path) -> str | None:
    """Why an entry's core was cut."""
    reason: str | None = handler.record(entry)["core"]["truncated"]["reason"]
    return reason


def test_a_share_of_the_spools_entries_is_refused_its_own_and_leaves_others_theirs(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolMaxEntries=8)
    for _ in range(4):
        assert handle(handler, words, cores.elf(100_000)).returncode == 0
    assert len(handler.entries()) == 2
    state = pod.containerd_state(**{"io.kubernetes.cri.sandbox-namespace": "team-a"})
    pod.write_state(state)
    assert handle(handler, words, cores.elf(100_000)).returncode == 0
    assert len(handler.entries()) == 3


def test_help_names_every_field(handler: installed.Installed) -> None:
    done = handle(handler, ["--help"])
    assert done.returncode == 0
    assert b"%F  pidfd of the process" in done.stdout


def test_a_core_that_trickles_in_is_cut_at_the_deadline(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], captureTimeout=1.5)
    process = subprocess.Popen(
        [handler.executable, "handle", *words],
        stdin=subprocess.PIPE,
        env={},
        close_fds=False,
        bufsize=0,
    )
    begun = time.monotonic()
    assert process.stdin is not None
    with process.stdin as pipe:
        while process.poll() is None and time.monotonic() < begun + 60:
            try:
                pipe.write(b"x")
            except BrokenPipeError:
                break
            threading.Event().wait(0.1)
    assert process.wait(timeout=30) == 0
    core = handler.record(handler.wait_for_entry())["core"]
    assert core["truncated"]["reason"] == "captureTimeout passed"
    assert 1 <= core["size"] < 600


def test_a_spool_at_its_limit_keeps_the_record_and_says_why(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolMaxUse=100_000)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    entry = handler.wait_for_entry()
    core = handler.record(entry)["core"]
    assert core["truncated"]["is"]
    assert "spoolMaxUse" in core["truncated"]["reason"]
    assert gzip.decompress((entry / "core.gz").read_bytes()) == b""
    assert core["size"] == 0


def test_a_spool_of_too_many_entries_takes_not_even_a_record(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolMaxEntries=1)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    entry = handler.wait_for_entry()
    done = handle(handler, words, cores.elf(3_000_000))
    assert done.returncode != 0
    assert list(handler.spool.iterdir()) == [entry]


def test_a_disk_that_must_stay_free_is_not_filled(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], spoolKeepFree=2**60)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    assert (
        "spoolKeepFree" in handler.record(handler.wait_for_entry())["core"]["truncated"]["reason"]
    )


def test_rlimit_core_is_honoured_when_policy_says_so(
    handler: installed.Installed, pod: pods.Pod, victim: subprocess.Popen[bytes]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], honourRlimit=True)
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    none = installed.arguments(victim, rlimit_core=0, pidfd=pidfd)
    some = installed.arguments(victim, rlimit_core=50_000, pidfd=pidfd)
    assert handle(handler, none, cores.elf(3_000_000)).returncode == 0
    assert handler.entries() == []
    assert handle(handler, some, cores.elf(3_000_000)).returncode == 0
    os.close(pidfd)
    core = handler.record(handler.wait_for_entry())["core"]
    assert core["size"] == core["truncated"]["limit"] == 50_000
    assert core["truncated"]["reason"] == "larger than RLIMIT_CORE"


def test_a_captures_niceness_is_the_policys_and_it_takes_no_processor_from_others(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], niceness=7)
    process = subprocess.Popen(
        [handler.executable, "handle", *words], stdin=subprocess.PIPE, env={}, close_fds=False
    )
    assert process.stdin is not None
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    with process.stdin as pipe:
        pipe.write(bytes(100_000))
        pipe.flush()
        end = time.monotonic() + 30
        while os.getpriority(os.PRIO_PROCESS, process.pid) != niceness and time.monotonic() < end:
            threading.Event().wait(0.02)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == niceness
        while os.sched_getscheduler(process.pid) != os.SCHED_BATCH and time.monotonic() < end:
            threading.Event().wait(0.02)
        assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
    assert process.wait(timeout=30) == 0


def test_a_pod_that_wants_no_captures_leaves_nothing_and_can_die_at_once(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], pods={pod.uid: {"capture": "disabled"}})
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    assert handler.entries() == []


@pytest.mark.parametrize("whose", ["pods", "namespaces"])
def test_a_tenants_own_limit_cuts_the_core(
    handler: installed.Installed, pod: pods.Pod, words: list[str], whose: str
) -> None:
    name = pod.uid if whose == "pods" else "shop"
    own = {whose: {name: {"maxSize": 70_000}}}
    handler.policy(runtimeStateDirs=[str(pod.state_dir)], **own)
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    core = handler.record(handler.wait_for_entry())["core"]
    assert core["size"] == core["truncated"]["limit"] == 70_000
    assert core["truncated"]["reason"] == "larger than maxSize"


def test_a_namespace_whose_quota_is_reached_keeps_the_record_alone(
    handler: installed.Installed, pod: pods.Pod, words: list[str]
) -> None:
    handler.policy(
        runtimeStateDirs=[str(pod.state_dir)], namespaces={"shop": {"quotaReached": True}}
    )
    assert handle(handler, words, cores.elf(3_000_000)).returncode == 0
    entry = handler.wait_for_entry()
    core = handler.record(entry)["core"]
    assert core["size"] == 0
    assert core["truncated"] == {
        "is": True,
        "reason": "the namespace's quota is reached (onQuota: reject)",
        "limit": 0,
    }
    assert gzip.decompress((entry / "core.gz").read_bytes()) == b""
