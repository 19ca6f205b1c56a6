"""A node with an agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kube import fakekube
from support.node import agents, hostdirs, pods
from support.server import uploads


@pytest.fixture
def node(tmp_path: Path, kind: str) -> Iterator[agents.Agent]:
    """Without a running agent yet."""
    with hostdirs.temporary() as host_dir, agents.node(tmp_path, host_dir, kind) as agent:
        yield agent


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[pods.Pod]:
    """A pod whose runtime keeps its state in `runtime`."""
    with pods.running(tmp_path / "runtime") as made:
        yield made


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[fakekube.FakeKube]:
    """A Kubernetes API server over TLS."""
    directory = tmp_path / "kube"
    directory.mkdir()
    with fakekube.FakeKube(directory) as server:
        yield server


@pytest.fixture
def world(tmp_path: Path) -> Iterator[uploads.World]:
    """A server that agents may send to."""
    made = uploads.World(tmp_path / "world")
    with made.kube:
        made.start()
        yield made
        if made.server is not None and made.server.process.poll() is None:
            made.server.stop()
