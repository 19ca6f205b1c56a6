"""An installed handler, a pod, and the compiled crashers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers
from support.node import hostdirs, installed, pods


@pytest.fixture(scope="session")
def crasher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C crasher."""
    return crashers.compiled("crasher", tmp_path_factory.mktemp("crashers"))


@pytest.fixture(scope="session")
def thread_crasher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C crasher with many threads."""
    return crashers.compiled("crasher_threads", tmp_path_factory.mktemp("crashers"))


@pytest.fixture
def host_dir() -> Iterator[Path]:
    """One that only root can change."""
    with hostdirs.temporary() as path:
        yield path


@pytest.fixture
def handler(host_dir: Path, kind: str, tmp_path: Path) -> installed.Installed:
    """The handler installed below `host_dir`, with a policy that looks for `pod`'s state."""
    program = installed.Installed(host_dir, kind)
    program.policy(runtimeStateDirs=[str(tmp_path / "runtime")])
    return program


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[pods.Pod]:
    """A container of a pod, in real cgroups."""
    with pods.running(tmp_path / "runtime") as made:
        yield made


@pytest.fixture
def victim(pod: pods.Pod) -> Iterator[subprocess.Popen[bytes]]:
    """A living process of the pod, for the handler to read, or whose pid another's crash names."""
    process = pod.start(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def words(victim: subprocess.Popen[bytes]) -> Iterator[list[str]]:
    """The kernel's words for `victim`, its pidfd open and inherited as the kernel would."""
    pidfd = os.pidfd_open(victim.pid)
    os.set_inheritable(pidfd, True)
    yield installed.arguments(victim, pidfd=pidfd)
    os.close(pidfd)
