"""Who gets into etcd, and what is said to who does not."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support import pki, waiting
from support.storage import etcd

from coredumpd import errors


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A member that lets in whoever has a certificate, and knows no users."""
    cluster = etcd.Cluster(
        tmp_path_factory.mktemp("certified"), users=False, client_certificates=True
    )
    yield cluster
    cluster.stop()


def test_a_client_certificate_is_enough_where_there_are_no_users(certified, open_on):
    engine = open_on(certified, access=certified.access(client_certificate=True))
    engine.create("/a/x", b"1")
    assert engine.get("/a/x").value == b"1"


def test_without_the_client_certificate_nothing_answers(certified, open_on):
    # etcd's alert and its hanging up race; either is all that OpenSSL tells.
    with pytest.raises(errors.Unavailable, match=r"etcd at https://127\.0\.0\.1:\d+: "):
        open_on(certified).revision()


def test_a_server_signed_by_a_stranger_is_not_talked_to(single, open_on, tmp_path):
    stranger = pki.Authority(tmp_path, "stranger")
    access = dataclasses.replace(single.access(), caFile=str(stranger.file))
    with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        open_on(single, access=access).revision()


def test_a_missing_authority_file_is_named_at_once(single, open_on):
    access = dataclasses.replace(single.access(), caFile="/nowhere/ca.crt")
    with pytest.raises(errors.StorageError, match=r"/nowhere/ca\.crt"):
        open_on(single, access=access)


def test_files_that_change_are_used_without_a_restart(single, open_on, tmp_path):
    stranger = pki.Authority(tmp_path, "stranger")
    rotated = tmp_path / "rotated.crt"
    shutil.copy(stranger.file, rotated)
    engine = open_on(single, access=dataclasses.replace(single.access(), caFile=str(rotated)))
    with pytest.raises(errors.Unavailable):
        engine.revision()
    rotated.write_text("half written")
    with pytest.raises(errors.Unavailable):
        engine.revision()
    fresh = tmp_path / "fresh.crt"
    shutil.copy(single.access().caFile, fresh)
    fresh.rename(rotated)
    assert engine.revision() >= 1


def test_a_wrong_password_is_said_and_a_corrected_one_used(single, open_on, tmp_path):
    credentials = tmp_path / "credentials"
    shutil.copytree(single.access().credentialsDir, credentials)
    (credentials / "password").write_text("wrong")
    access = dataclasses.replace(single.access(), credentialsDir=str(credentials))
    engine = open_on(single, access=access)
    with pytest.raises(errors.StorageError, match="authentication failed"):
        engine.revision()
    (credentials / "password").write_text(etcd.PASSWORD)
    assert engine.revision() >= 1


def test_a_missing_password_file_is_named(single, open_on, tmp_path):
    access = dataclasses.replace(single.access(), credentialsDir=str(tmp_path))
    with pytest.raises(errors.StorageError, match=f"{tmp_path}/username"):
        open_on(single, access=access).revision()


def test_no_password_where_one_is_needed_is_said(single, open_on):
    access = dataclasses.replace(single.access(), credentialsDir=None)
    with pytest.raises(errors.StorageError, match="user name is empty"):
        open_on(single, access=access).revision()


def test_a_user_is_kept_out_of_other_prefixes(single, open_on):
    engine = open_on(single, root="/registry")
    with pytest.raises(errors.StorageError, match="permission denied"):
        engine.create("/a/x", b"1")
    with pytest.raises(errors.StorageError, match="permission denied"):
        engine.watch("/a/", 1).next(5)


def test_users_behind_certificates_with_names_are_told_what_is_wrong(tmp_path, open_on):
    cluster = etcd.Cluster(tmp_path, client_certificates=True)
    try:
        engine = open_on(cluster, access=cluster.access(client_certificate=True))
        with pytest.raises(errors.StorageError, match="CommonName of client"):
            engine.revision()
    finally:
        cluster.stop()


def test_a_token_that_expires_is_renewed(tmp_path, open_on):
    key = rsa.generate_private_key(65537, 2048)
    private, public = tmp_path / "jwt.key", tmp_path / "jwt.pub"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    public.write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    token = f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=1s"
    cluster = etcd.Cluster(tmp_path, f"--auth-token={token}")
    try:
        engine = open_on(cluster)
        revision = engine.create("/a/x", b"0")
        old = engine._etcd._token
        for _ in range(2):

            def written_with_another_token(before=old):
                nonlocal revision
                revision = engine.update("/a/x", b"1", revision)
                return engine._etcd._token != before

            waiting.until("a new token", written_with_another_token, 10, 0.25)
            old = engine._etcd._token
    finally:
        cluster.stop()


def test_a_gateway_that_is_off_is_said(tmp_path, open_on):
    cluster = etcd.Cluster(tmp_path, "--enable-grpc-gateway=false", users=False)
    try:
        with pytest.raises(errors.StorageError, match="--enable-grpc-gateway=true"):
            open_on(cluster).revision()
    finally:
        cluster.stop()
