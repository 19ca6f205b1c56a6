from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from support.kube import fakekube

from coredumpd import errors
from coredumpd.kube import client

POD = "/api/v1/namespaces/team-a/pods/web-0"


@pytest.fixture
def kube(tmp_path):
    with fakekube.FakeKube(tmp_path) as server:
        yield server


def ask(kube, method, path, *args, **options):
    async def run():
        async with await client.connect(str(kube.kubeconfig())) as api:
            return await api.request(method, path, *args, **options)

    return asyncio.run(run())


def status(code, reason, message, **more):
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message, **more}


def test_an_object_is_read_with_the_token_of_the_kubeconfig(kube):
    kube.objects[POD] = {"metadata": {"uid": "u-1"}}
    assert ask(kube, "GET", POD) == (200, {"metadata": {"uid": "u-1"}})
    assert kube.headers[0]["authorization"] == "Bearer a-token"
    assert kube.headers[0]["User-Agent"] == "coredumpd"


def test_a_body_is_sent_as_json_and_a_query_is_quoted(kube):
    code, document = ask(kube, "POST", "/api/v1/events", {"a": 1}, query={"x": "All", "w": True})
    assert (code, document) == (201, {"a": 1})
    assert kube.asked == [("POST", "/api/v1/events?x=All&w=true", {"a": 1})]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(400, "BadRequest", "what?"), errors.BadRequest),
        (status(401, "Unauthorized", "who?"), errors.Unauthorized),
        (status(403, "Forbidden", "no"), errors.Forbidden),
        (status(404, "NotFound", "where?"), errors.NotFound),
        (status(409, "Conflict", "old"), errors.Conflict),
        (status(409, "AlreadyExists", "there"), errors.AlreadyExists),
        (status(410, "Expired", "too old"), errors.Expired),
        (status(429, "TooManyRequests", "slow down"), errors.Unavailable),
        (status(500, "InternalError", "oops"), errors.Unavailable),
        ((502, "<html>bad gateway</html>"), errors.Unavailable),
        ((503, "[]"), errors.Unavailable),
        ((200, "not json"), errors.Unavailable),
    ],
)
def test_an_answer_that_is_no_success_is_one_of_our_errors(kube, answer, kind):
    kube.answers["GET", POD] = answer
    with pytest.raises(kind) as caught:
        ask(kube, "GET", POD)
    assert type(caught.value) is kind
    assert POD in str(caught.value)


def test_the_api_servers_own_message_and_causes_are_kept(kube):
    causes = [{"field": "spec.x", "message": "must be y"}]
    kube.answers["GET", POD] = status(422, "Invalid", "bad pod", details={"causes": causes})
    with pytest.raises(errors.Invalid, match="bad pod") as caught:
        ask(kube, "GET", POD)
    assert [(cause.field, cause.rule) for cause in caught.value.causes] == [("spec.x", "must be y")]


def test_a_server_that_is_gone_or_slow_is_unavailable(kube):
    kube.kubeconfig()
    kube.delay_s = 0.5
    with pytest.raises(errors.Unavailable):
        ask(kube, "GET", POD, timeout_s=0.05)
    kube.stop()
    with pytest.raises(errors.Unavailable, match=f"127.0.0.1:{kube.port}"):
        ask(kube, "GET", POD)


def test_a_server_with_another_certificate_is_unavailable(kube, tmp_path):
    path = kube.kubeconfig()
    other = tmp_path / "other"
    other.mkdir()
    with fakekube.FakeKube(other) as impostor:
        path.write_text(path.read_text().replace(str(kube.port), str(impostor.port)))

        async def run():
            async with await client.connect(str(path)) as api:
                await api.request("GET", POD)

        with pytest.raises(errors.Unavailable, match=r"(?i)certificate"):
            asyncio.run(run())
        assert impostor.asked == []


def test_a_missing_or_broken_kubeconfig_is_a_settings_error(tmp_path, monkeypatch):
    bad, missing = tmp_path / "bad", tmp_path / "missing"
    bad.write_text("clusters: 7")
    with pytest.raises(errors.SettingsError, match="no way to reach Kubernetes"):
        asyncio.run(client.connect(str(bad)))
    with pytest.raises(errors.SettingsError, match=f"kubeconfig {missing}: No such file"):
        asyncio.run(client.connect(str(missing)))
    monkeypatch.setenv("KUBECONFIG", f"{missing}:/nowhere")
    with pytest.raises(errors.SettingsError, match=f"{missing} and /nowhere does not exist"):
        asyncio.run(client.connect())


def test_a_service_account_token_is_read_again_when_it_rotates(kube, tmp_path, monkeypatch):
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("first")
    (account / "ca.crt").write_bytes(kube.ca_file.read_bytes())
    (account / "namespace").write_text("coredump-system\n")
    monkeypatch.setattr(client, "_SERVICE_ACCOUNT_DIR", str(account))
    monkeypatch.setattr(client, "TOKEN_AGE_S_MAX", 0.0)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(kube.port))
    kube.objects[POD] = {}

    async def run():
        async with await client.connect() as api:
            await api.request("GET", POD)
            (account / "token").write_text("second")
            await api.request("GET", POD)

    assert client.in_cluster()
    assert client.own_namespace() == "coredump-system"
    asyncio.run(run())
    sent = [headers["authorization"].lower() for headers in kube.headers]
    assert sent == ["bearer first", "bearer second"]


def test_a_watch_yields_events_and_says_when_it_expired(kube):
    lines = (
        b'{"type":"ADDED","object":{"n":1}}\n'
        b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}\n'
    )
    kube.answers["GET", "/api/v1/pods"] = (200, lines.decode())
    seen = []

    async def run():
        async with await client.connect(str(kube.kubeconfig())) as api:
            async for event in api.watch("/api/v1/pods", query={"resourceVersion": "5"}):
                seen.append(event)

    with pytest.raises(errors.Expired, match="too old"):
        asyncio.run(run())
    assert seen == [{"type": "ADDED", "object": {"n": 1}}]
    assert kube.asked[0][1] == "/api/v1/pods?resourceVersion=5&watch=true&timeoutSeconds=300"


def test_a_peer_that_hangs_up_in_the_middle_is_unavailable(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    config = tmp_path / "config"
    config.write_text(
        f"clusters: [{{name: c, cluster: {{server: 'http://{host}:{port}'}}}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )

    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

    async def run():
        async with (
            await asyncio.start_server(hang_up, sock=listener),
            await client.connect(str(config)) as api,
        ):
            with pytest.raises(errors.Unavailable):
                await api.request("GET", POD)

    asyncio.run(run())


def streamed(kube, path):
    async def run():
        async with (
            await client.connect(str(kube.kubeconfig())) as api,
            contextlib.aclosing(api.stream(path, query={"offset": 3})) as chunks,
        ):
            return b"".join([chunk async for chunk in chunks])

    return asyncio.run(run())


def test_a_stream_gives_the_bytes_of_the_answer(kube):
    kube.answers["GET", POD] = (200, "x" * 1_000_000)
    assert streamed(kube, POD) == b"x" * 1_000_000
    assert kube.asked == [("GET", f"{POD}?offset=3", None)]


def test_a_stream_that_is_refused_raises_what_a_request_would(kube):
    kube.answers["GET", POD] = status(403, "Forbidden", "no")
    with pytest.raises(errors.Forbidden, match="no"):
        streamed(kube, POD)
    with pytest.raises(errors.NotFound):
        streamed(kube, "/nothing")


def test_the_default_namespace_is_the_contexts(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "config"
    contexts = [
        {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
        {"name": "two", "context": {"cluster": "c", "user": "u"}},
    ]
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://x"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": contexts,
        "current-context": "one",
    }
    path.write_text(json.dumps(document))
    assert client.default_namespace(str(path)) == "team-a"
    assert client.default_namespace(str(path), "two") == "default"
    for wrong in (
        lambda: client.default_namespace(str(path), "three"),
        lambda: client.default_namespace(str(tmp_path / "none")),
    ):
        with pytest.raises(errors.SettingsError):
            wrong()


def test_slow_requests_of_one_keep_no_others_waiting(kube):
    kube.delay_s = 6.0

    async def run():
        async with await client.connect(str(kube.kubeconfig())) as api:
            tasks = [asyncio.create_task(api.request("GET", f"{POD}{n}")) for n in range(150)]
            while len(kube.asked) < len(tasks):  # pytest's timeout is the deadline
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
