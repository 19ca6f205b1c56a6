"""kube-apiserver in front: its certificate's chain, the names it sends, headers of our answers."""

from __future__ import annotations

import contextlib
import datetime
import subprocess

import pytest
from support import pki, waiting
from support.server import servers

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
NAMED = {"X_Remote_User": "alice", "X_Remote_Group": "dev"}


@pytest.fixture
def published(world):
    """Publishes another CA of the front proxy, until the end of the test."""

    def publish(pem: str) -> None:
        world.kube.publish_trust(**{"requestheader-client-ca-file": pem})

    yield publish
    world.kube.publish_trust()
    usual = world.kube.proxy_ca.issue("front-proxy-client", file_name="usual")
    waiting.until("the usual CA", lambda: is_believed(world, usual), 20)


def reply_of(world, pair, **headers):
    with contextlib.suppress(OSError):  # the handshake fails until the CA is read
        return world.client(pair, **(headers or NAMED)).ask("GET", URL)
    return None


def is_believed(world, pair) -> bool:
    reply = reply_of(world, pair)
    return reply is not None and reply.code == 200


def with_chain(pair, *authorities) -> pki.Pair:
    """The pair, with the certificates of `authorities` sent behind its own."""
    chain = pair.cert.with_suffix(".chain.crt")
    chain.write_text(pair.cert.read_text() + "".join(one.pem for one in authorities))
    return pki.Pair(chain, pair.key)


@pytest.mark.parametrize("published_too", ["root", "root and intermediate", "intermediate"])
def test_a_proxy_certificate_of_an_intermediate_is_believed_with_its_chain(
    world, tmp_path, published, published_too
):
    root = pki.Authority(tmp_path, "aggregation-root")
    between = pki.Authority(tmp_path, "aggregation-intermediate", issuer=root, path_length=0)
    pair = with_chain(between.issue("front-proxy-client"), between)
    pems = {"root": root.pem, "intermediate": between.pem}
    published("".join(pems[name] for name in published_too.split(" and ")))
    waiting.until("the new CA", lambda: is_believed(world, pair), 20)
    assert world.kube.reviews[-1]["user"] == "alice"


def test_an_intermediate_may_not_issue_more_than_it_says(world, tmp_path, published):
    root = pki.Authority(tmp_path, "root")
    good = pki.Authority(tmp_path, "good", issuer=root)
    between = pki.Authority(tmp_path, "between", issuer=root, path_length=0)
    below = pki.Authority(tmp_path, "below", issuer=between)
    published(root.pem)
    pair = with_chain(good.issue("front-proxy-client"), good)
    waiting.until("the new CA", lambda: is_believed(world, pair), 20)
    assert not is_believed(world, with_chain(below.issue("front-proxy-client"), below, between))


def test_a_client_of_the_proxys_ca_is_no_ca(world, tmp_path, published):
    """Its key signs a certificate with the right name."""
    root = pki.Authority(tmp_path, "root")
    published(root.pem)
    good = root.issue("front-proxy-client")
    waiting.until("the new CA", lambda: is_believed(world, good), 20)
    leaf = root.issue("mallory")
    forger = pki.Authority(tmp_path, "mallory-ca")
    forger._key = pki.private_key(leaf.key)
    forger._name = pki.subject(leaf.cert)
    forger.pair = leaf
    assert not is_believed(world, with_chain(forger.issue("front-proxy-client"), forger))


def test_a_ca_of_version_1_is_believed(world, tmp_path, published):
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    for name in ("ca", "leaf"):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{name}.key")
    openssl("req", "-new", "-key", "ca.key", "-subj", "/CN=old-ca", "-out", "ca.csr")
    openssl("x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "2", "-out", "ca.crt")
    openssl("req", "-new", "-key", "leaf.key", "-subj", "/CN=front-proxy-client", "-out", "l.csr")
    (tmp_path / "ext").write_text("extendedKeyUsage=clientAuth\n")
    openssl(
        *("x509", "-req", "-in", "l.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "ext", "-out", "leaf.crt"),
    )
    published((tmp_path / "ca.crt").read_text())
    pair = pki.Pair(tmp_path / "leaf.crt", tmp_path / "leaf.key")
    waiting.until("the new CA", lambda: is_believed(world, pair), 20)


def test_a_ca_of_version_3_that_does_not_say_so_is_refused_and_the_log_says_why(
    world, tmp_path, published
):
    """As in Go; kube-apiserver itself would not accept its certificates."""
    certificate = pki.certificate_without_extensions(tmp_path, "no-ca")
    issuer = pki.Authority(tmp_path, "issuer")
    issuer._key, issuer._name = pki.private_key(certificate.key), pki.subject(certificate.cert)
    pair = issuer.issue("front-proxy-client", file_name="of-no-ca")
    published(certificate.cert.read_text())
    reason = "the trusted authority CN=no-ca does not say that it is a CA"
    waiting.until("the reason", lambda: reason in world.server.log.read_text(), 20)
    assert not is_believed(world, pair)


def test_a_401_says_the_check_that_failed_and_no_secret(world):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    proxy = world.kube.proxy_ca
    old = proxy.issue("front-proxy-client", file_name="old-one", not_after=yesterday)
    other = proxy.issue("another-proxy")
    good = proxy.issue("front-proxy-client", file_name="good-one")
    cases = [
        (old, NAMED, "the client certificate has expired"),
        (other, NAMED, "the client certificate's name 'another-proxy' is no allowed name"),
        (good, {"X_Remote_Group": "dev"}, "names no user"),
        (good, {"X_Remote_User": "j\xfcrgen"}, "X-Remote-User is not UTF-8"),
        (None, {"Authorization": "Bearer nothing"}, "the bearer token is invalid or expired"),
        (None, {"Authorization": "Basic x"}, "no credentials"),
    ]
    for pair, headers, text in cases:
        reply = reply_of(world, pair, **headers)
        assert (reply.code, reply.json["reason"]) == (401, "Unauthorized")
        assert text.lower() in reply.json["message"].lower()
        assert "front-proxy-client" not in reply.body.decode()
        assert str(world.kube.port) not in reply.body.decode()


@pytest.mark.parametrize("name", ["jürgen", "日本語", "émile 😀"])
def test_a_users_name_is_reviewed_as_go_sends_it(world, name):
    sent = name.encode().decode("latin-1")  # http.client sends headers as Latin-1
    client = world.proxied(sent)
    client.headers |= {"X-Remote-Group": sent, "X-Remote-Extra-Team": sent}
    world.kube.reviews.clear()
    assert client.ask("GET", URL).code == 200
    review = world.kube.reviews[-1]
    assert (review["user"], review["groups"][0], review["extra"]) == (name, name, {"team": [name]})


def test_a_certificates_common_name_is_reviewed_as_it_is(world):
    pair = world.kube.client_ca.issue("jürgen", "größe", file_name="juergen")
    world.kube.reviews.clear()
    assert world.client(pair).ask("GET", URL).code == 200
    review = world.kube.reviews[-1]
    assert (review["user"], review["groups"][0]) == ("jürgen", "größe")


@pytest.mark.parametrize("names", [("alice", "root"), ("", "root"), ("alice", "alice")])
def test_two_lines_that_name_the_user_are_refused(world, names):
    client = world.proxied("unused")
    with contextlib.closing(client.connect()) as connection:
        connection.putrequest("GET", URL)
        for name in names:
            connection.putheader("X-Remote-User", name)
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.status == 401
        assert b"2 times" in reply.read()


def test_headers_that_kube_apiserver_adds_are_left_to_it(world):
    direct = world.client(Authorization="Bearer x").ask("GET", URL)
    assert direct.headers.get_all("Cache-Control") == ["no-cache, private"]
    assert len(direct.headers.get_all("Audit-Id")) == 1
    named = {"Audit-Id": "8b8d9f3c-0000-1111-2222-333344445555"}
    for path, code in ((URL, 200), (f"{URL}/missing", 404), (f"{URL}?labelSelector=%2f", 400)):
        reply = world.proxied("alice").ask("GET", path, headers=named)
        assert reply.code == code
        assert reply.headers.get_all("Cache-Control") is None
        assert reply.headers.get_all("Audit-Id") is None
        unnamed = world.proxied("alice").ask("GET", path)
        assert len(unnamed.headers.get_all("Audit-Id")) == 1


BODIES = [
    b"Content-Length: 0, 0",
    b"Content-Length: 0\r\nContent-Length: 0",
    b"Content-Length: +5",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Length: 99999999999",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX",
]


@pytest.mark.parametrize("credentials", [b"", b"X-Remote-User: alice\r\n"])
@pytest.mark.parametrize("lines", BODIES, ids=lambda lines: lines.decode())
def test_a_request_whose_body_is_in_doubt_gets_one_answer(world, lines, credentials):
    client = world.proxied("alice") if credentials else world.client()
    with contextlib.closing(client.connect()) as connection:
        connection.connect()
        head = b"POST " + URL.encode() + b" HTTP/1.1\r\nHost: here\r\n" + credentials + lines
        connection.sock.sendall(head + b"\r\n\r\n")
        with connection.sock.makefile("rb") as file:
            answer = file.read()
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert int(answer.split(b" ", 2)[1]) in (400, 401, 413)
