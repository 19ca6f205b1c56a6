"""Who we are to a bucket, and what we ask of it: on real sockets, seen on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import dumps, pki
from support.storage import ceph, sts

from coredumpd import errors
from coredumpd.settings import backends
from coredumpd.store import engines as stores

ROLE = "arn:aws:iam::123456789012:role/coredumpd"


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.Authority(tmp_path, "sts-ca")


@pytest.fixture
def identity(
    tmp_path: Path, authority: pki.Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[sts.Sts]:
    """What a pod with a role has: no keys, but a token and where to trade it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    token = tmp_path / "token"
    token.write_text("projected")
    with sts.running(authority, (ceph.ACCESS_KEY, ceph.SECRET_KEY), "projected") as server:
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.endpoint)
        yield server


def test_a_workloads_token_is_traded_for_keys_that_the_bucket_takes(cluster, authority, identity):
    reach = backends.BucketSettings(**cluster.bucket("by-role"), caFile=str(authority.file))
    store = stores.open_store("s3://by-role/dumps", reach)
    dump = dumps.make()
    store.commit(*dump)
    assert list(store.list()) == [dump[0]]
    assert identity.asked[0]["Action"] == "AssumeRoleWithWebIdentity"
    assert identity.asked[0]["RoleArn"] == ROLE


def test_a_workloads_token_that_is_not_taken_is_a_storage_error(cluster, authority, identity):
    identity.token = "another"
    reach = backends.BucketSettings(**cluster.bucket("by-no-role"), caFile=str(authority.file))
    with pytest.raises(errors.StorageError, match="403") as caught:
        stores.open_store("s3://by-no-role/dumps", reach).commit(*dumps.make())
    assert "projected" not in str(caught.value)


def test_encryption_is_asked_for_with_every_object(between, cluster):
    cluster.bucket("sealed")
    between.heard = heard = []
    reach = backends.BucketSettings(endpoint=between.endpoint, sse="AES256")
    store = stores.open_store("s3://sealed/dumps", reach)
    # This gateway has no TLS and no keys, and refuses: it has understood what was asked.
    with pytest.raises(errors.StorageError):
        store.commit(*dumps.make())
    puts = [text for text in heard if text.startswith(b"PUT ")]
    assert puts
    assert all(b"x-amz-server-side-encryption: aes256" in text.lower() for text in puts)
