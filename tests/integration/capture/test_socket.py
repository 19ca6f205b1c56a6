"""What only the capture socket has: strangers, a listener that dies, an agent that is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting
from support.node import capturing, corepattern, installed, pods

from coredumpd.formats import core_pattern as pattern
from coredumpd.formats import host_dir

pytestmark = [capturing.needs_core_pattern, capturing.needs_sockets]
DEADLINE_S = 30.0


def core_pattern() -> str:
    return corepattern.SYSCTLS[0].read_text().strip()


@pytest.fixture
def owned(handler: installed.Installed) -> Iterator[capturing.Listener]:
    """A listener with one worker, and core_pattern pointing at it."""
    with corepattern.borrowed():
        corepattern.SYSCTLS[1].write_text(
            "16"
        )  # as the agent does: at 0 the kernel waits for no pipe
        listener = capturing.Listener(handler, workers=1)
        corepattern.SYSCTLS[0].write_text(pattern.render_socket(str(handler.host_dir)))
        with listener:
            yield listener


def test_a_stranger_on_the_socket_gets_nothing_and_harms_nobody(
    handler: installed.Installed, owned: capturing.Listener, pod: pods.Pod, crasher: Path
) -> None:
    for garbage in (b"", b"x", os.urandom(4096)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.settimeout(DEADLINE_S)
            stranger.connect(str(owned.path))
            # Closed with our garbage unread, or before we sent it.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                stranger.sendall(garbage)
                assert stranger.recv(1) == b""
    assert not handler.spool.exists()
    assert pod.start([crasher, "segv"], cwd="/").wait(DEADLINE_S) == -signal.SIGSEGV
    assert handler.record(handler.wait_for_entry())["capture"]["mode"] == "socket"


def test_crashes_beyond_the_workers_wait_in_the_queue_and_all_are_kept(
    handler: installed.Installed, owned: capturing.Listener, pod: pods.Pod, crasher: Path
) -> None:
    crashes = [pod.start([crasher, "abort", "0.2"], cwd="/") for _ in range(12)]
    assert {process.wait(DEADLINE_S) for process in crashes} == {-signal.SIGABRT}
    entries = waiting.until(
        "12 entries",
        lambda: found if len(found := handler.entries()) == 12 else [],
        DEADLINE_S,
        0.02,
    )
    pids = {handler.record(entry)["process"]["pid"] for entry in entries}
    assert pids == {process.pid for process in crashes}


def test_when_the_agent_is_gone_the_pipe_handler_is_back_and_the_queue_is_served(
    handler: installed.Installed, owned: capturing.Listener, pod: pods.Pod, crasher: Path
) -> None:
    queued = [pod.start([crasher, "abort"], cwd="/") for _ in range(3)]
    owned.control.close()
    waiting.until("core_pattern to be back", lambda: core_pattern()[0] == "|", DEADLINE_S, 0.001)
    assert core_pattern() == pattern.render(str(handler.executable))
    for process in queued:
        assert process.wait(DEADLINE_S) == -signal.SIGABRT
    assert owned.process.wait(DEADLINE_S) == 0
    assert pod.start([crasher, "segv"], cwd="/").wait(DEADLINE_S) == -signal.SIGSEGV
    waiting.until("4 entries", lambda: len(handler.entries()) == 4, DEADLINE_S, 0.02)


def test_a_core_pattern_of_somebody_else_is_not_handed_back(
    handler: installed.Installed, owned: capturing.Listener
) -> None:
    corepattern.SYSCTLS[0].write_text("core.other")
    owned.control.close()
    assert owned.process.wait(DEADLINE_S) == 0
    assert core_pattern() == "core.other"


def test_a_listener_killed_while_capturing_leaves_the_capture_and_the_queue_alive(
    handler: installed.Installed, owned: capturing.Listener, pod: pods.Pod, crasher: Path
) -> None:
    first = pod.start([crasher, "abort", "0", "300000000"], cwd="/")
    waiting.until("a capture", lambda: list(handler.spool.glob("*.part")), DEADLINE_S, 0.001)
    second = pod.start([crasher, "abort"], cwd="/")  # the only worker is busy
    waiting.until("a queue", lambda: is_dumping(second.pid), DEADLINE_S, 0.001)
    owned.process.kill()
    owned.process.wait(DEADLINE_S)
    assert second.poll() is None
    heir = capturing.Listener(handler, workers=1, listening=owned.listening)
    with heir:
        assert first.wait(DEADLINE_S) == -signal.SIGABRT
        assert second.wait(DEADLINE_S) == -signal.SIGABRT
    waiting.until("2 entries", lambda: len(handler.entries()) == 2, DEADLINE_S, 0.02)


def test_a_crash_that_is_killed_in_the_queue_holds_up_nobody(
    handler: installed.Installed, owned: capturing.Listener, pod: pods.Pod, crasher: Path
) -> None:
    os.kill(owned.process.pid, signal.SIGSTOP)
    doomed = pod.start([crasher, "abort"], cwd="/")
    waiting.until("a queue", lambda: is_dumping(doomed.pid), DEADLINE_S, 0.001)
    doomed.kill()
    assert doomed.wait(DEADLINE_S) < 0, "the container could not be stopped"
    os.kill(owned.process.pid, signal.SIGCONT)
    survivor = pod.start([crasher, "segv"], cwd="/")
    assert survivor.wait(DEADLINE_S) == -signal.SIGSEGV
    entry = handler.wait_for_entry()
    assert handler.record(entry)["process"]["pid"] == survivor.pid


def test_a_full_listen_queue_loses_the_core_but_not_the_process(
    handler: installed.Installed, pod: pods.Pod, crasher: Path
) -> None:
    path = handler.host_dir / host_dir.CAPTURE_SOCKET
    with corepattern.borrowed(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as full:
        full.bind(str(path))
        full.listen(0)
        corepattern.SYSCTLS[0].write_text(pattern.render_socket(str(handler.host_dir)))
        crashes = [pod.start([crasher, "abort"], cwd="/") for _ in range(4)]
        waiting.until(
            "the kernel to drop some", lambda: any(c.poll() for c in crashes), DEADLINE_S, 0.01
        )
        full.close()
        for process in crashes:
            assert process.wait(DEADLINE_S) == -signal.SIGABRT


def test_started_by_hand_the_listener_says_that_the_agent_starts_it(
    handler: installed.Installed,
) -> None:
    command = [str(handler.executable), "handle", "--listen"]
    for words, why in (
        (["4"], "the agent starts this"),
        (["0"], "1 to 4096"),
        (["x"], "1 to 4096"),
        ([], "1 to 4096"),
    ):
        done = subprocess.run(
            [*command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert why in done.stderr


def is_dumping(pid: int) -> bool:
    return "CoreDumping:\t1" in Path(f"/proc/{pid}/status").read_text()
