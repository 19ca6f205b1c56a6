"""One param per engine; those that need a server of their own skip loudly where it cannot run."""

from __future__ import annotations

import itertools

import pytest
from support.storage import etcd

from coredumpd.objects import engines, interface

_roots = (f"{etcd.ROOT}/{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def etcd_cluster(tmp_path_factory):
    """One member with TLS and users; every test has keys of its own in it."""
    cluster = etcd.Cluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def etcd_35_cluster(tmp_path_factory):
    """The same, of the next release."""
    cluster = etcd.Cluster(tmp_path_factory.mktemp("etcd-3.5"), program=etcd.packaged())
    yield cluster
    cluster.stop()


@pytest.fixture(params=["sqlite", "etcd", "etcd_35"])
def open_engine(request, tmp_path):
    """Opens the same engine again and again; every one is closed in the end."""
    opened = []
    if request.param != "sqlite":
        cluster = request.getfixturevalue(f"{request.param}_cluster")
        url, access = cluster.url(next(_roots)), cluster.access()
    else:
        url, access = f"sqlite:///{tmp_path}/objects.db", None

    def open_() -> interface.Engine:
        engine = engines.open_engine(url, access)
        opened.append(engine)
        return engine

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_engine):
    return open_engine()
