"""What integration tests share: each runs on the source tree and on the frozen executable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.node import installed
from support.storage import ceph, meddler

from coredumpd.settings import backends


@pytest.fixture(params=["source", "frozen"])
def kind(request: pytest.FixtureRequest) -> str:
    """`source` or `frozen`; frozen is skipped, by name, until it is built."""
    if request.param == "frozen" and not installed.FROZEN.exists():
        pytest.skip("dist/coredumpd is missing: make dist")
    return str(request.param)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ceph.Ceph]:
    """A Ceph with CephFS mounted and a gateway."""
    why = ceph.missing()
    if why is not None:
        pytest.skip(f"CEPH IS NOT TESTED: {why}")
    with ceph.Ceph(tmp_path_factory.mktemp("ceph")) as made:
        made.start()
        made.gateway()
        made.mount()
        yield made


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.SECRET_KEY)


@pytest.fixture(scope="session")
def s3_bucket(cluster: ceph.Ceph) -> backends.BucketSettings:
    """How to reach the bucket `cores`."""
    return backends.BucketSettings(**cluster.bucket("cores"))


@pytest.fixture
def between(cluster: ceph.Ceph, credentials: None) -> Iterator[meddler.Meddler]:
    """A proxy in front of the gateway."""
    made = meddler.Meddler(int(cluster.endpoint.rsplit(":", 1)[1]))
    yield made
    made.close()
