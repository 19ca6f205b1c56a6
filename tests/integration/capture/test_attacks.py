"""What an attacker tries, one test each; docs/capture.md has the table.

A tenant controls everything inside of a container: names, cgroups below its own, namespaces, what
its process does while it is dumped. A person on the node may control files, never root's.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cores
from support.node import capturing, corepattern, installed, pods

from coredumpd.formats import names
from coredumpd.spool import recovery

pytestmark = capturing.needs_core_pattern

# Any shell would choke on it; the kernel cuts comm after 15 bytes.
EVIL_COMM = b"../\n\x1b[31m \xff\xfe%s\t"

_RENAMED = """
import ctypes, os
ctypes.CDLL(None).prctl(15, {comm!r})  # PR_SET_NAME
os.abort()
"""
_NOT_DUMPABLE = """
import ctypes, os
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
os.abort()
"""


@pytest.fixture
def public(crasher: Path) -> Iterator[Path]:
    """The crasher where every user can run it."""
    directory = Path(tempfile.mkdtemp(prefix="cd-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield Path(shutil.copy(crasher, directory))
    shutil.rmtree(directory)


def by_hand(handler: installed.Installed, words: list[str], core: bytes) -> int:
    command = [handler.executable, "handle", *words]
    done = subprocess.run(
        command, input=core, capture_output=True, env={}, close_fds=False, timeout=30
    )
    assert b"Traceback" not in done.stderr
    return done.returncode


def test_a_reused_pid_is_refused_by_its_pidfd(
    handler: installed.Installed, victim: subprocess.Popen[bytes]
) -> None:
    crashed = subprocess.Popen(["sleep", "600"])
    pidfd = os.pidfd_open(crashed.pid)
    os.set_inheritable(pidfd, True)
    words = installed.arguments(victim, pidfd=pidfd)
    assert by_hand(handler, words, b"secrets of another") == 75
    crashed.kill()
    crashed.wait()  # now the pidfd names nobody
    assert by_hand(handler, words, b"secrets of another") == 75
    os.close(pidfd)
    assert handler.entries() == []


def test_without_a_pidfd_a_process_that_is_not_dumping_is_refused(
    handler: installed.Installed, victim: subprocess.Popen[bytes]
) -> None:
    assert by_hand(handler, installed.arguments(victim, pidfd=""), b"core") == 75
    assert handler.entries() == []


@pytest.mark.parametrize("field", ["uid", "gid", "ns_tid", "tid"])
def test_a_process_that_the_kernels_words_contradict_is_refused(
    handler: installed.Installed, victim: subprocess.Popen[bytes], field: str
) -> None:
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    words = installed.arguments(victim, pidfd=pidfd, **{field: 12345})
    assert by_hand(handler, words, b"core") in (66, 75)
    os.close(pidfd)
    assert handler.entries() == []


def test_a_process_that_is_gone_is_refused(handler: installed.Installed) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert by_hand(handler, installed.arguments(gone), b"core") == 66
    assert handler.entries() == []


def test_a_hostile_comm_stays_one_escaped_line(handler: installed.Installed, pod: pods.Pod) -> None:
    script = _RENAMED.format(comm=EVIL_COMM)
    found = capturing.read(capturing.crash(handler, pod, sys.executable, "-c", script))
    assert capturing.belongs(found, pod)
    comm = found.raw["process"]["comm"]
    assert comm.isprintable()
    assert comm.startswith("../\\x0a\\x1b[31m \\xff")
    assert names.is_dns_subdomain(found.id)


@pytest.mark.parametrize(
    "name",
    [b"a b\n..%s$(id)`id`;x", b"\xff\xfe\x80", b"-rf", b"..." * 80, b"x" * 255],
    ids=["shell", "invalid-utf8", "option", "dots", "long"],
)
def test_a_hostile_exe_makes_a_valid_name_and_an_escaped_path(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, name: bytes
) -> None:
    directory = Path(tempfile.mkdtemp(prefix="cd-"))
    program = os.path.join(os.fsencode(directory), name)
    shutil.copy(crasher, program)
    with capturing.owning(handler):
        process = pod.start([program, b"segv"], cwd="/")
        process.wait(timeout=60)
    shutil.rmtree(directory)
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert names.is_dns_subdomain(found.id)
    assert len(found.id) <= 63
    assert found.raw["process"]["exe"].isascii()
    assert found.raw["process"]["exe"].isprintable()


def test_an_exe_path_of_4_kb_is_kept_bounded(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    root = tempfile.mkdtemp(prefix="cd-")
    here = os.open(root, os.O_RDONLY)
    for _ in range(16):
        os.mkdir("d" * 250, dir_fd=here)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    where = f"/proc/{os.getpid()}/fd/{here}"
    shutil.copy(crasher, f"{where}/crasher")
    with capturing.owning(handler):
        pod.start([f"{where}/crasher", "segv"], cwd="/").wait(timeout=60)
    os.close(here)
    shutil.rmtree(root)
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert len(found.raw["process"]["exe"] or "") <= 4096


@pytest.mark.parametrize("below", ["kubepods/besteffort/pod{uid}/{id}", "docker/{id}"])
def test_a_container_forged_below_its_own_cgroup_does_not_count(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, below: str
) -> None:
    forged = below.format(uid="11111111-2222-3333-4444-555555555555", id="f" * 64)
    for directory in pod.hierarchies:
        (directory / forged).mkdir(parents=True)
    with capturing.owning(handler):
        process = subprocess.Popen([crasher, "segv"], cwd="/", preexec_fn=lambda: pod.enter(forged))
        process.wait(timeout=60)
    found = capturing.read(handler.wait_for_entry())
    assert capturing.belongs(found, pod)
    assert found.raw["containerID"] == pod.container_id


@pytest.mark.parametrize("how", ["other-uid", "other-cgroup", "writable", "fifo", "link", "junk"])
def test_forged_runtime_state_is_not_believed(
    handler: installed.Installed, pod: pods.Pod, crasher: Path, tmp_path: Path, how: str
) -> None:
    document = pod.containerd_state(**{"io.kubernetes.cri.sandbox-namespace": "kube-system"})
    if how == "other-uid":
        document["annotations"]["io.kubernetes.cri.sandbox-uid"] = "somebody-else"
    if how == "other-cgroup":
        document["linux"]["cgroupsPath"] = f"/kubepods/pod{pod.uid}/{'e' * 64}"
    path = pod.write_state(document)
    if how == "writable":
        path.chmod(0o666)
    if how in ("fifo", "link", "junk"):
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    if how == "link":
        (tmp_path / "elsewhere").write_text(json.dumps(document))
        path.symlink_to(tmp_path / "elsewhere")
    if how == "junk":
        path.write_bytes(b"\0" * 100_000)
    found = capturing.read(capturing.crash(handler, pod, crasher, "segv"))
    assert found.raw["namespace"] is None
    assert found.raw["podUID"] == pod.uid
    assert found.raw["capture"]["attribution"] == "cgroup-only"


def test_a_process_that_may_not_be_dumped_is_not(
    handler: installed.Installed, pod: pods.Pod
) -> None:
    with capturing.owning(handler):
        process = pod.start([sys.executable, "-c", _NOT_DUMPABLE], cwd="/")
        assert process.wait(timeout=60) == -signal.SIGABRT
    assert handler.entries() == []


@pytest.mark.parametrize("suid_dumpable", [0, 2])
def test_a_setuid_program_is_dumped_only_suidsafe_and_for_root_alone(
    handler: installed.Installed, pod: pods.Pod, public: Path, suid_dumpable: int
) -> None:
    os.chown(public, 12346, 12346)
    public.chmod(0o4755)
    become = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    with capturing.owning(handler):
        corepattern.SYSCTLS[2].write_text(str(suid_dumpable))
        process = pod.start([*become, public, "segv"], cwd="/")
        assert process.wait(timeout=60) == -signal.SIGSEGV
    if suid_dumpable == 0:
        assert handler.entries() == []
        return
    entry = handler.wait_for_entry()
    assert capturing.read(entry).raw["process"]["dumpMode"] == 2
    for path in (entry, *entry.iterdir()):
        about = path.stat()
        assert about.st_uid == 0
        assert about.st_mode & 0o077 == 0


@pytest.mark.parametrize("what", ["link", "fifo", "file", "device"])
def test_what_is_planted_where_the_spool_should_be_is_refused(
    handler: installed.Installed, victim: subprocess.Popen[bytes], tmp_path: Path, what: str
) -> None:
    match what:
        case "link":
            (tmp_path / "target").mkdir()
            handler.spool.symlink_to(tmp_path / "target")
        case "fifo":
            os.mkfifo(handler.spool)
        case "file":
            handler.spool.write_text("")
        case _:
            os.mknod(handler.spool, 0o600 | 0o020000, os.makedev(1, 3))
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    assert by_hand(handler, installed.arguments(victim, pidfd=pidfd), b"core") in (74, 77)
    os.close(pidfd)
    if what == "link":
        assert list((tmp_path / "target").iterdir()) == []


def test_a_policy_that_is_a_fifo_or_a_link_does_not_stop_a_capture(
    handler: installed.Installed, victim: subprocess.Popen[bytes]
) -> None:
    handler.policy("policy.json.last")
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    for plant in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        (handler.host_dir / "policy.json").unlink()
        plant(handler.host_dir / "policy.json")
        assert by_hand(handler, installed.arguments(victim, pidfd=pidfd), b"core") == 0
    os.close(pidfd)
    assert len(handler.entries()) == 2


def test_a_policy_that_is_a_device_or_has_a_second_name_is_not_obeyed(
    handler: installed.Installed, victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    policy = handler.host_dir / "policy.json"
    handler.policy("policy.json.last")
    handler.policy(maxSize=2)
    policy.rename(tmp_path / "elsewhere")
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    for plant in (
        lambda: os.link(tmp_path / "elsewhere", policy),
        lambda: os.mknod(policy, 0o600 | stat.S_IFCHR, os.makedev(1, 5)),  # /dev/zero
    ):
        plant()
        assert by_hand(handler, installed.arguments(victim, pidfd=pidfd), b"core") == 0
        policy.unlink()
    os.close(pidfd)
    sizes = [capturing.read(entry).raw["core"]["size"] for entry in handler.entries()]
    assert sizes == [4, 4]
    assert "maxSize" in (tmp_path / "elsewhere").read_text()


def test_a_core_that_claims_absurd_sizes_is_kept_as_it_came(
    handler: installed.Installed, victim: subprocess.Popen[bytes]
) -> None:
    header = bytearray(cores.elf(4096)[:4096])
    header[56:58] = struct.pack("<H", 0xFFFE)  # program headers that never come
    for start in range(64, 4096 - 56, 56):
        header[start + 8 : start + 16] = header[start + 32 : start + 40] = b"\xff" * 8
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    words = installed.arguments(victim, pidfd=pidfd)
    assert by_hand(handler, words, bytes(header)) == 0
    header[56:58] = struct.pack("<H", 3)
    assert by_hand(handler, words, bytes(header)) == 0
    os.close(pidfd)
    entries = handler.entries()
    assert len(entries) == 2
    claims = [capturing.read(entry).raw["core"] for entry in entries]
    assert sorted((core["truncated"]["is"], core["malformed"]) for core in claims) == [
        (False, "segment 0: its bytes end beyond 2^63"),
        (True, None),
    ]
    assert all(len(gzip.decompress((e / "core.gz").read_bytes())) == 4096 for e in entries)


def test_a_crash_of_the_handler_is_not_dumped_and_its_capture_is_recovered(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    with capturing.owning(handler):
        process = pod.start([crasher, "segv", "0", "2000000000"], cwd="/")
        capturing.part(handler)
        for pid in capturing.handlers(handler.host_dir):
            os.kill(pid, signal.SIGSEGV)
        process.wait(timeout=30)
        end = time.monotonic() + 10
        while capturing.handlers(handler.host_dir) and time.monotonic() < end:
            time.sleep(0.02)
        assert not capturing.handlers(handler.host_dir)
    assert handler.entries() == []
    [(id, said)] = recovery.recover(str(handler.spool))
    assert "kept" in said
    crash = capturing.read(handler.spool / id)
    assert capturing.belongs(crash, pod)
    assert crash.raw["core"]["truncated"]["reason"] == recovery.REASON


def test_a_container_that_is_killed_while_it_is_dumped_can_die(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    with capturing.owning(handler):
        process = pod.start([crasher, "segv", "0", "2000000000"], cwd="/")
        capturing.part(handler)
        process.kill()
        process.wait(timeout=20)
        entry = handler.wait_for_entry()
    found = capturing.read(entry)
    assert capturing.belongs(found, pod)
    data = gzip.GzipFile(entry / "core.gz")
    size = sum(len(chunk) for chunk in iter(lambda: data.read(1 << 20), b""))
    data.close()
    assert size == found.raw["core"]["size"]
    assert found.raw["core"]["truncated"]["is"] == (size < 2_000_000_000)


def test_a_core_of_10000_threads_is_whole(
    handler: installed.Installed, pod: pods.Pod, thread_crasher: Path
) -> None:
    found = capturing.read(capturing.crash(handler, pod, thread_crasher, "10000"))
    assert capturing.belongs(found, pod)
    assert not found.raw["core"]["truncated"]["is"]
    assert found.raw["core"]["size"] > 10_000_000


def test_pid_1_of_a_container_is_known_by_both_its_pids(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    found = capturing.read(
        capturing.crash(handler, pod, "unshare", "--pid", "--fork", crasher, "segv")
    )
    assert capturing.belongs(found, pod)
    assert found.raw["process"]["nsPid"] == 1
    assert found.raw["process"]["pid"] > 1


def test_a_process_in_a_user_namespace_keeps_its_real_ids(
    handler: installed.Installed, pod: pods.Pod, public: Path
) -> None:
    become = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    namespace = ("unshare", "--user", "--map-root-user")
    found = capturing.read(capturing.crash(handler, pod, *become, *namespace, public, "segv"))
    assert capturing.belongs(found, pod)
    assert found.raw["process"]["uid"] == 12345
