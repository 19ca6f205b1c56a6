"""The guard crashes a process of its own: what it says of a sound node, and of broken ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, waiting
from support.node import agents, capturing, corepattern

from coredumpd.agent.node import interpreter
from coredumpd.formats import host_dir as host_dirs

PATTERN = corepattern.SYSCTLS[0]
OTHER = "|/bin/other %p"
DEADLINE_S = 40.0
PREFIX = "crashes of this node are not captured: "
# Answers the agent's question whether it starts; as a handler it does as the last line says.
LAUNCHER = """\
#!{python} -I
import ctypes, os, sys
if sys.argv[2] != "--help":
    {otherwise}
"""
pytestmark = capturing.needs_core_pattern


@pytest.fixture
def owner(node: agents.Agent, tmp_path: Path) -> Iterator[agents.Agent]:
    """A node whose agent owns core_pattern while it runs."""
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")], "spoolKeepFree": "1Mi"}
    with corepattern.borrowed(), contextlib.ExitStack() as mounts:
        # A file system of hostDir's own, whose mount a test may change.
        command = ["mount", "-t", "tmpfs", "-o", "mode=0700,size=8g", "none", str(node.host_dir)]
        subprocess.run(command, check=True)
        mounts.callback(subprocess.run, ["umount", "--lazy", str(node.host_dir)], check=True)
        PATTERN.write_text("core.before\n")
        yield node
        if node.process is not None:
            node.kill()


def begin(node: agents.Agent, *words: str, before: tuple[str, ...] = ()) -> None:
    """Start it, and see it pass."""
    node.start(*(words or ("--no-kubernetes",)), before=before)
    waiting.until("the self-test", lambda: passed(node), DEADLINE_S, 0.05)


def again() -> None:
    """Another program sets core_pattern; the agent puts it back, and tests again."""
    PATTERN.write_text(OTHER + "\n")


def passed(node: agents.Agent) -> bool:
    return "coredumpd_agent_self_test_passed 1.0" in node.get("/metrics")[1]


def results(node: agents.Agent) -> dict[str, int]:
    """Self-tests, by their result."""
    pattern = r'^coredumpd_agent_self_tests_total\{result="(.*)"\} (\d+)'
    return {name: int(count) for name, count in re.findall(pattern, node.get("/metrics")[1], re.M)}


def sentence(node: agents.Agent) -> str:
    """What /healthz says once it fails, and the log too."""
    waiting.until("/healthz to fail", lambda: node.get("/healthz")[0] == 503, DEADLINE_S, 0.1)
    waiting.until("the sentence", lambda: PREFIX in node.get("/healthz")[1], DEADLINE_S, 0.1)
    (text,) = [line for line in node.get("/healthz")[1].splitlines() if PREFIX in line]
    assert text in node.logged()
    assert not passed(node)
    return text.removeprefix(PREFIX)


def launcher(node: agents.Agent) -> Path:
    return (node.host_dir / host_dirs.CURRENT_LAUNCHER).resolve()


def replace_launcher(node: agents.Agent, otherwise: str) -> None:
    new = launcher(node).with_suffix(".new")
    new.write_text(LAUNCHER.format(python=sys.executable, otherwise=otherwise))
    new.chmod(0o700)
    new.rename(launcher(node))


def test_a_sound_node_passes_and_nothing_of_the_test_is_left(owner, pod, tmp_path):
    begin(owner)
    assert owner.get("/healthz") == (200, "ok\n")
    assert os.listdir(owner.spool) == []
    assert not (owner.host_dir / host_dirs.SELF_TEST).exists()
    again()
    waiting.until("a second one", lambda: results(owner) == {"passed": 2}, DEADLINE_S, 0.05)
    crasher = crashers.compiled("crasher", tmp_path)
    assert pod.start([crasher, "abort"], cwd="/").wait(60) < 0
    owner.wait_stored(1)  # that of the pod alone
    assert owner.skipped() == {}
    assert os.listdir(owner.spool) == []


def test_a_handler_without_its_loader_is_told_everywhere_and_so_is_its_repair(owner, kube):
    begin(owner, "--kubeconfig", str(kube.kubeconfig()))
    script = launcher(owner)
    whole = script.read_bytes()
    if owner.kind == "frozen":
        loader = script.parent / interpreter.LOADER
        loader.rename(f"{loader}.away")
    else:
        loader = Path("/nowhere/python")
        script.write_bytes(whole.replace(sys.executable.encode(), bytes(loader), 1))
    again()
    assert sentence(owner) == (
        "the installed handler does not start on the host: No such file or directory: its loader"
        f" {loader} is missing; restart the agent, which repairs what is installed; if that does"
        f" not help, run {owner.host_dir}/current/coredumpd by hand on the host"
    )
    assert results(owner)["loader"] >= 1
    if owner.kind == "frozen":
        Path(f"{loader}.away").rename(loader)
    else:
        script.write_bytes(whole)
    again()
    waiting.until("it to pass", lambda: owner.get("/healthz") == (200, "ok\n"), DEADLINE_S, 0.1)

    def reasons() -> list[str]:
        return [event["reason"] for event in kube.created("events")]

    waiting.until("the second Event", lambda: "CoreDumpSelfTestPassed" in reasons(), 20, 0.05)
    (event,) = [one for one in kube.created("events") if one["reason"] == "CoreDumpSelfTestFailed"]
    assert event["involvedObject"]["kind"] == "Node"
    assert str(loader) in event["message"]
    assert owner.skipped() == {}, "the guard's own crashes are nobody's"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "noexec",
            "hostDir {0} is mounted noexec on the host, so the kernel cannot run the handler; mount"
            " it with exec, or set agent.hostDir to a directory that is (on GKE's COS:"
            " /home/kubernetes/bin/coredumpd)",
        ),
        (
            "ro",
            "hostDir {0} is mounted read-only: cannot make .self-test in the spool: Read-only file"
            " system; mount it writable, or set agent.hostDir to a directory that is",
        ),
    ],
)
def test_the_hosts_mount_options_count_and_not_the_containers(owner, option, expected):
    begin(owner, before=("unshare", "--mount"))
    subprocess.run(["mount", "-o", f"remount,bind,{option}", str(owner.host_dir)], check=True)
    again()
    assert sentence(owner) == expected.format(owner.host_dir)


IN_A_MOUNT = 'mount -t tmpfs -o mode=0700 none "$0" && exec "$@"'


def test_a_host_dir_that_the_host_does_not_have_is_named(owner):
    before = ("unshare", "--mount", "sh", "-c", IN_A_MOUNT, str(owner.host_dir))
    owner.start("--no-kubernetes", before=before)
    assert sentence(owner) == (
        f"the host's files do not have the agent's hostDir {owner.host_dir}, where the kernel looks"
        f" for the handler; give the agent the host's directory of the same path (hostPath"
        f" {owner.host_dir})"
    )


def test_a_node_that_is_a_container_itself_needs_the_mount_outside(owner):
    before = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    owner.start("--no-kubernetes", before=(*before, "sh", "-c", IN_A_MOUNT, str(owner.host_dir)))
    assert sentence(owner) == (
        "this node is a container itself (kind, k3d), and the kernel looks for hostDir"
        f" {owner.host_dir} on the machine outside, where this node's handler is not; mount a"
        " directory of the machine into the node at the same path (kind: extraMounts with equal"
        " hostPath and containerPath)"
    )


def test_a_node_that_is_a_container_passes_where_the_machine_has_host_dir_too(owner):
    before = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    begin(owner, before=before)
    assert owner.get("/healthz") == (200, "ok\n")


def test_a_core_pattern_that_another_program_keeps_is_shown(owner):
    begin(owner)

    def fought() -> bool:
        if PATTERN.read_text() != OTHER + "\n":
            again()
        return "leaving them alone" in owner.logged()

    waiting.until("the agent to give in", fought, DEADLINE_S, 0.02)
    again()
    expected = f"core_pattern is not ours: kernel/core_pattern is '{OTHER}', set by something else"
    waiting.until("/healthz to fail", lambda: owner.get("/healthz")[0] == 503, DEADLINE_S, 0.1)
    assert owner.get("/healthz")[1] == expected + "\n"


@pytest.mark.parametrize(
    ("otherwise", "expected"),
    [
        (  # SECCOMP_MODE_STRICT: the next call kills
            "sys.stdin.buffer.read(); ctypes.CDLL(None).prctl(22, 1, 0, 0, 0); os.getpid()",
            "the kernel handed the core to the handler, which ended without a word and without an"
            " entry; see what kills it: a security agent, a seccomp or LSM policy (the node's"
            " audit log), the OOM killer",
        ),
        (
            "open('/dev/kmsg', 'w').write("
            "f'<3>coredumpd[1]: crash not stored: pid {sys.argv[2]}: it rains\\n')",
            "the kernel runs the handler, but it stores nothing: it rains; the message is the"
            " handler's own, and also in the node's kernel log",
        ),
    ],
    ids=["killed", "failing"],
)
def test_a_handler_that_is_killed_and_one_that_fails_are_told_apart(owner, otherwise, expected):
    begin(owner)
    replace_launcher(owner, otherwise)  # tested again at once: the file is another
    assert sentence(owner) == expected


def test_a_full_spool_is_no_broken_node(owner):
    owner.policy["spoolKeepFree"] = "100Gi"
    owner.start("--no-kubernetes")
    waiting.until("the self-test", lambda: passed(owner), DEADLINE_S, 0.05)
    assert owner.get("/healthz") == (
        200,
        "ok\nself-test: the spool is full, and a crash leaves a record at most: what is free on"
        " the spool's disk stays free for the node (spoolKeepFree); see whether dumps reach the"
        " store; raise policy.spoolMaxUse or spoolMaxEntries, or free the disk\n",
    )


def test_a_node_that_keeps_no_crashes_of_the_host_is_tested_all_the_same(owner):
    owner.policy["hostCrashes"] = "ignore"
    owner.policy["captureSlots"] = 1
    begin(owner)
    assert owner.stored() == []
    assert owner.skipped() == {}


@capturing.needs_sockets
def test_auto_leaves_the_mode_that_fails_for_the_one_that_passes(owner, pod, tmp_path):
    owner.settings["capture"] = "auto"
    begin(owner)
    real = owner.host_dir / host_dirs.VERSIONS / "real"
    shutil.copytree(launcher(owner).parent, real)
    listen = f"os.execv('{real}/coredumpd', ['{real}/coredumpd', *sys.argv[1:]])"
    replace_launcher(owner, f"if sys.argv[2] == '--listen': {listen}")
    waiting.until("the socket", lambda: PATTERN.read_text().startswith("@@"), DEADLINE_S, 0.1)
    notice = "ok\ncapture: auto has left mode pipe: the kernel handed the core to the handler,"
    waiting.until(
        "/healthz to say so", lambda: owner.get("/healthz")[1].startswith(notice), DEADLINE_S, 0.1
    )
    assert owner.get("/healthz")[0] == 200
    crasher = crashers.compiled("crasher", tmp_path)
    assert pod.start([crasher, "abort"], cwd="/").wait(60) < 0
    (key,) = owner.wait_stored(1)
    assert owner.record(key)["capture"]["mode"] == "socket"
    assert owner.stop() == 0
    assert PATTERN.read_text().startswith("|")
