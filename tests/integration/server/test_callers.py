"""Who may do what, with real certificates."""

from __future__ import annotations

import datetime
import ssl
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import controlplane, pki, servers

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
NAMED = {"X_Remote_User": "admin", "X_Remote_Group": "system:masters"}


def test_nobody_in_particular_is_401(world):
    reply = world.client().ask("GET", URL)
    assert reply.code == 401
    assert reply.json["reason"] == "Unauthorized"
    assert reply.json["kind"] == "Status"


def test_forged_proxy_headers_without_a_certificate_are_401(world):
    assert world.client(**NAMED).ask("GET", URL).code == 401


def test_a_certificate_of_an_unknown_ca_is_turned_away_by_tls(world, tmp_path):
    stranger = pki.Authority(tmp_path, "proxy-ca").issue("front-proxy-client")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.client(stranger, **NAMED).ask("GET", URL)


def test_proxy_headers_with_a_user_certificate_are_ignored(world):
    mallory = world.kube.client_ca.issue("mallory", "team")
    world.kube.reviews.clear()
    assert world.client(mallory, **NAMED).ask("GET", URL).code == 200
    assert world.kube.reviews[-1]["user"] == "mallory"
    assert world.kube.reviews[-1]["groups"] == ["team", "system:authenticated"]


def test_the_proxy_ca_with_another_name_is_401(world):
    other = world.kube.proxy_ca.issue("somebody-else")
    assert world.client(other, **NAMED).ask("GET", URL).code == 401


def test_the_proxys_name_from_the_client_ca_is_just_a_user(world, tmp_path):
    world.kube.client_ca.issue("front-proxy-client", file_name="impostor")
    pair = (world.directory / "impostor.crt", world.directory / "impostor.key")
    world.kube.reviews.clear()
    assert world.client(pair, **NAMED).ask("GET", URL).code == 200
    assert world.kube.reviews[-1]["user"] == "front-proxy-client"


def test_an_expired_certificate_is_turned_away(world):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    old = world.kube.proxy_ca.issue("front-proxy-client", file_name="old", not_after=yesterday)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.client(old, **NAMED).ask("GET", URL)


def test_a_server_certificate_is_no_client_certificate(world):
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    pair = world.kube.proxy_ca.issue("front-proxy-client", file_name="wrong-use", usages=usages)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.client(pair, **NAMED).ask("GET", URL)


def test_the_proxied_user_is_reviewed_with_groups_uid_and_extra(world):
    client = world.proxied(
        "alice",
        X_Remote_Uid="u-1",
        **{"X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id": "X509SHA256=1"},
    )
    client.headers["X-Remote-Group"] = "dev"
    world.kube.reviews.clear()
    assert client.ask("GET", URL + "/x/dump").code == 404
    assert world.kube.reviews == [
        {
            "user": "alice",
            "uid": "u-1",
            "groups": ["dev", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=1"]},
            "resourceAttributes": {
                "verb": "get",
                "group": "coredump.fujitsu.com",
                "version": "v1alpha1",
                "resource": "coredumpendpoints",
                "subresource": "dump",
                "namespace": "team-a",
                "name": "x",
            },
        }
    ]


def test_denied_is_403_and_says_what(world):
    world.kube.may = lambda spec: spec["user"] != "bob"
    try:
        reply = world.proxied("bob").ask("GET", URL + "/x/dump")
    finally:
        world.kube.may = lambda spec: True
    assert reply.code == 403
    assert reply.json["message"] == (
        'coredumpendpoints.coredump.fujitsu.com "x" is forbidden: User "bob" cannot get resource '
        '"coredumpendpoints/dump" in API group "coredump.fujitsu.com" in the namespace "team-a"'
    )


def test_an_unknown_path_is_reviewed_before_it_is_404(world):
    world.kube.may = lambda spec: spec["user"] != "carol"
    try:
        assert world.proxied("carol").ask("GET", "/nothing/here").code == 403
    finally:
        world.kube.may = lambda spec: True
    assert world.proxied("dora").ask("GET", "/nothing/here").code == 404
    assert world.client().ask("GET", "/nothing/here").code == 401


@pytest.mark.parametrize(
    "answer", [(500, {"kind": "Status"}), (201, {"status": {}}), (201, "<html>"), (201, None)]
)
def test_an_authoriser_that_makes_no_sense_is_503_never_a_yes(world, answer):
    world.kube.answers["POST", controlplane.SAR] = answer
    try:
        reply = world.proxied(f"erin-{time.monotonic_ns()}").ask("GET", URL)
    finally:
        del world.kube.answers["POST", controlplane.SAR]
    assert reply.code == 503
    assert reply.json["reason"] == "ServiceUnavailable"
    assert reply.headers["Retry-After"] == "1"


def test_kubernetes_gone_is_503_and_over_when_it_is_back(world):
    client = world.proxied(f"frank-{time.monotonic_ns()}")
    world.kube.stop()
    try:
        assert client.ask("GET", URL).code == 503
    finally:
        world.kube.start()
    assert client.ask("GET", URL).code == 200


def test_a_slow_authoriser_is_503(world):
    world.kube.delay_s = 7
    try:
        assert world.proxied(f"gina-{time.monotonic_ns()}").ask("GET", URL).code == 503
    finally:
        world.kube.delay_s = 0


def test_a_bearer_token_is_reviewed(world):
    world.kube.tokens["good"] = {"username": "sa", "uid": "7", "groups": ["g"]}
    world.kube.reviews.clear()
    assert world.client(Authorization="Bearer good").ask("GET", URL).code == 200
    assert world.kube.reviews[-1]["user"] == "sa"
    assert world.client(Authorization="Bearer bad").ask("GET", URL).code == 401
    assert world.client(Authorization="Basic Z29vZDpnb29k").ask("GET", URL).code == 401


def test_probes_need_no_credentials_and_metrics_do(world):
    assert world.client().ask("GET", "/readyz?verbose").code == 200
    assert world.client().ask("GET", "/livez").body == b"ok"
    assert world.client().ask("GET", "/metrics").code == 401
    assert b"coredumpd_server_requests_total" in world.proxied().ask("GET", "/metrics").body


def test_old_tls_is_refused(world):
    client = world.client()
    client.context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.ask("GET", "/livez")
