from __future__ import annotations

import os

import pytest
from support import pki

from coredumpd import errors
from coredumpd.objects.etcd import connections
from coredumpd.settings import backends

ENDPOINT = "https://127.0.0.1:2379"


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path)


@pytest.fixture
def access(authority):
    return backends.EtcdSettings(caFile=str(authority.file))


def test_files_that_have_not_changed_keep_the_connections(access):
    pools = connections.Connections([ENDPOINT], access)
    before = pools.pool(ENDPOINT)
    pools.refresh()
    assert pools.pool(ENDPOINT) is before
    pools.close()


def test_a_renewed_file_is_used_for_new_connections(tmp_path, authority, access):
    pools = connections.Connections([ENDPOINT], access)
    before = pools.pool(ENDPOINT)
    renewed = tmp_path / "renewed"
    renewed.write_bytes(authority.file.read_bytes())
    os.replace(renewed, authority.file)
    pools.refresh()
    assert pools.pool(ENDPOINT) is not before
    pools.close()


def test_a_renewed_file_that_is_unusable_leaves_the_old_connections(authority, access, caplog):
    pools = connections.Connections([ENDPOINT], access)
    before = pools.pool(ENDPOINT)
    authority.file.write_bytes(b"not a certificate")
    pools.refresh()
    assert pools.pool(ENDPOINT) is before
    assert "the old certificates for etcd stay in use" in caplog.text
    pools.close()


def test_files_that_are_unusable_from_the_start_are_named(tmp_path):
    access = backends.EtcdSettings(caFile=str(tmp_path / "missing"))
    with pytest.raises(errors.StorageError, match="missing"):
        connections.Connections([ENDPOINT], access)


def test_plain_http_reads_no_file(tmp_path):
    access = backends.EtcdSettings(caFile=str(tmp_path / "missing"))
    connections.Connections(["http://127.0.0.1:2379"], access).close()
