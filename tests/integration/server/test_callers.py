"""Who may do what, with real certificates."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import pki, waiting
from support.kube import controlplane
from support.server import servers

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
    """Named as the real one, CA and subject; not even with a token that would do alone."""
    stranger = pki.Authority(tmp_path, "proxy-ca").issue("front-proxy-client")
    world.kube.tokens["fine"] = {"username": "sa"}
    world.kube.reviews.clear()
    for path in (URL, "/livez"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            world.client(stranger, **NAMED, Authorization="Bearer fine").ask("GET", path)
    assert world.kube.reviews == []


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


def test_an_expired_certificate_is_401_and_hides_no_token(world):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for authority in (world.kube.proxy_ca, world.kube.client_ca):
        user = f"sa-{time.monotonic_ns()}"
        world.kube.tokens[f"of-{user}"] = {"username": user}
        old = authority.issue("front-proxy-client", file_name="old", not_after=yesterday)
        world.kube.reviews.clear()
        reply = world.client(old, **NAMED).ask("GET", URL)
        assert (reply.code, reply.json["reason"]) == (401, "Unauthorized")
        assert world.kube.reviews == []
        token = f"Bearer of-{user}"
        assert world.client(old, **NAMED, Authorization=token).ask("GET", URL).code == 200
        assert world.kube.reviews[-1]["user"] == user


def test_a_certificate_that_expires_on_an_open_connection_is_401(world):
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    brief = world.kube.proxy_ca.issue("front-proxy-client", file_name="brief", not_after=soon)
    client = world.client(brief, **NAMED)
    with contextlib.closing(client.connect()) as connection:

        def code() -> int:
            connection.request("GET", URL, headers=client.headers)
            with connection.getresponse() as answer:
                answer.read()
                return answer.status

        assert code() == 200
        waiting.until("the certificate to expire", lambda: code() == 401, 10)


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


def test_groups_are_one_a_line_and_never_split(world):
    client = world.proxied("grouped")
    with contextlib.closing(client.connect()) as connection:
        connection.putrequest("GET", URL)
        for name, value in client.headers.items():
            connection.putheader(name, value)
        for group in ("dev", "a,system:masters", "ops"):
            connection.putheader("X-Remote-Group", group)
        connection.endheaders()
        assert connection.getresponse().status == 200
    groups = ["dev", "a,system:masters", "ops", "system:authenticated"]
    assert world.kube.reviews[-1]["groups"] == groups


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


def test_the_users_of_tokens_are_reviewed_with_groups_uid_and_extra(world):
    extra = {"authentication.kubernetes.io/pod-name": ["p"], "scopes": ["a", "b"]}
    world.kube.tokens["whole"] = {"username": "sa", "uid": "7", "groups": ["g"], "extra": extra}
    world.kube.reviews.clear()
    assert world.client(Authorization="Bearer whole").ask("GET", URL).code == 200
    told = {name: world.kube.reviews[-1][name] for name in ("user", "uid", "groups", "extra")}
    assert told == {"user": "sa", "uid": "7", "groups": ["g"], "extra": extra}


def test_a_token_that_expires_is_believed_for_seconds_and_then_401(world):
    world.kube.tokens["brief"] = {"username": "sa"}
    client = world.client(Authorization="Bearer brief")
    assert client.ask("GET", URL).code == 200
    del world.kube.tokens["brief"]
    waiting.until("the token to be 401", lambda: client.ask("GET", URL).code == 401, 20)


def test_tokens_that_cannot_be_reviewed_are_503_and_over_when_they_can(world):
    client = world.client(Authorization=f"Bearer late-{time.monotonic_ns()}")
    world.kube.answers["POST", controlplane.TOKENS] = (500, {"kind": "Status"})
    try:
        assert client.ask("GET", URL).code == 503
    finally:
        del world.kube.answers["POST", controlplane.TOKENS]
    assert client.ask("GET", URL).code == 401


def test_probes_need_no_credentials_and_metrics_do(world):
    assert world.client().ask("GET", "/readyz?verbose").code == 200
    assert world.client().ask("GET", "/livez").body == b"ok"
    assert world.client().ask("GET", "/metrics").code == 401
    assert b"coredumpd_server_requests_total" in world.proxied().ask("GET", "/metrics").body


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_1_2_and_1_3_are_spoken(world, version):
    client = world.client()
    client.context.minimum_version = client.context.maximum_version = ssl.TLSVersion[version]
    with contextlib.closing(client.connect()) as connection:
        connection.connect()
        assert connection.sock.version() == version.replace("_", ".")
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200


def test_old_tls_is_refused(world):
    client = world.client()
    client.context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.ask("GET", "/livez")
