"""etcd as it fails in the field: members die, hang, lose their quorum and forget tokens."""

from __future__ import annotations

import itertools

import pytest
from support.storage import etcd

from coredumpd.objects.etcd import engine as engines

_roots = (f"{etcd.ROOT}/{number}" for number in itertools.count())


@pytest.fixture
def open_on():
    """Opens an engine on a cluster, by default with keys of its own; all are closed in the end."""
    opened = []

    def open_(cluster, *ports, access=None, root=None, limits=engines.LIMITS):
        url = cluster.url(root or next(_roots), *ports)
        engine = engines.open(url, access or cluster.access(), limits)
        opened.append(engine)
        return engine

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """One member with users; a test that kills it starts it again."""
    cluster = etcd.Cluster(tmp_path_factory.mktemp("single"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three members with users; a test that kills some starts them again."""
    cluster = etcd.Cluster(tmp_path_factory.mktemp("three"), members=3)
    yield cluster
    cluster.stop()
