"""An installed handler, a pod, and the compiled crashers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crashers, installed, pods


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
    """A short path: core_pattern holds 127 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cd-"))
    yield path
    shutil.rmtree(path)


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
