"""The real stores: filesystems that are mounted for the test, and an S3 server.

Where Ceph cannot run, its tests are skipped by name; `make test` installs it.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.storage import azurite, gluster

from coredumpd.settings import backends
from coredumpd.store import engines as stores
from coredumpd.store import interface

ENGINES = ("ext4", "tmpfs", "cephfs", "glusterfs", "rgw", "azurite")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gluster.Gluster]:
    """A GlusterFS volume, mounted."""
    why = gluster.missing()
    if why is not None:
        pytest.skip(f"GLUSTERFS IS NOT TESTED: {why}")
    with gluster.Gluster(tmp_path_factory.mktemp("gluster")) as made:
        yield made


@pytest.fixture(scope="session")
def az_container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[backends.BucketSettings]:
    """How to reach the container `cores` of an Azurite."""
    why = azurite.missing()
    if why is not None:
        pytest.skip(f"AZURE IS NOT TESTED: {why}")
    with azurite.Azurite(tmp_path_factory.mktemp("azurite")) as made:
        yield backends.BucketSettings(**made.container("cores"))


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 16 MiB."""
    where = tmp_path / "tmpfs"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"TMPFS IS NOT TESTED: {made.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a new, empty store of the kind named."""

    def url(kind: str) -> str:
        if kind == "rgw":
            request.getfixturevalue("s3_bucket")
            return f"s3://cores/test-{next(_numbers)}"
        if kind == "azurite":
            return f"az://cores/test-{next(_numbers)}"
        if kind == "ext4":
            base = tmp_path
        elif kind == "tmpfs":
            base = request.getfixturevalue("tmpfs")
        else:
            base = request.getfixturevalue(
                {"cephfs": "cluster", "glusterfs": "volume"}[kind]
            ).mounted
        root: Path = base / f"store-{next(_numbers)}"
        root.mkdir()
        return root.as_uri()

    return url


@pytest.fixture(params=ENGINES)
def store(
    request: pytest.FixtureRequest,
    url_of: Callable[[str], str],
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
) -> interface.Store:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azurite.KEY)
    reached_by = {"rgw": "s3_bucket", "azurite": "az_container"}.get(request.param)
    reach = None if reached_by is None else request.getfixturevalue(reached_by)
    return stores.open_store(url_of(request.param), reach)
