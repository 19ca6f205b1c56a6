from __future__ import annotations

import asyncio
import datetime
import json

import pytest
from tornado import httpclient, httpserver, netutil, web

from coredumpd import errors
from coredumpd.apiserver.auth import certificates, interface, rights
from coredumpd.apiserver.http import application, handler, tls


class Hello(handler.Handler):
    async def get(self) -> None:
        self.answer({"user": self.caller.user if self.caller else None})


class Everybody:
    """Authenticates everybody as alice, who may do nothing but read /hello."""

    async def authenticate(self, headers, certificate) -> interface.Caller:
        return interface.Caller("alice")

    async def check(self, caller: interface.Caller, attributes: interface.Attributes) -> None:
        if attributes.path not in ("/hello", "/nowhere"):
            raise errors.Forbidden(attributes.sentence(caller.user))

    def began(self, handler: handler.Handler) -> None:
        pass

    def ended(self, handler: handler.Handler) -> None:
        pass


def test_a_route_without_rights_cannot_be_written():
    with pytest.raises(TypeError, match="rights"):
        application.Route("/x", Hello)


@pytest.mark.parametrize("demanded", [None, "anybody", rights.Anybody, {}])
def test_a_route_whose_rights_are_none_cannot_be_written(demanded):
    with pytest.raises(TypeError, match=r"/x: .* does not say who may call it"):
        application.Route("/x", Hello, demanded)


@pytest.mark.parametrize("kind", [web.RequestHandler, Hello.get, None])
def test_a_route_to_a_handler_that_checks_no_rights_cannot_be_written(kind):
    with pytest.raises(TypeError, match=r"/x: .* is not a handler that checks rights"):
        application.Route("/x", kind, rights.Path())


def test_a_handler_reads_its_rights_from_its_route(tmp_path):
    everybody = Everybody()
    routes = application.application(
        [
            application.Route("/hello", Hello, rights.Path()),
            application.Route("/secret", Hello, rights.Path()),
            application.Route("/open", Hello, rights.Anybody()),
        ],
        handler.Guard(everybody, everybody, everybody),
    )
    answers = asyncio.run(
        fetched(routes, tmp_path, "/hello", "/secret", "/open", "/nowhere", "/nowhere/secret")
    )
    assert [code for code, _ in answers] == [200, 403, 200, 404, 403]
    assert [document.get("user") for _, document in answers[:3]] == ["alice", None, None]
    assert answers[4][1]["reason"] == "Forbidden"


async def fetched(routes: web.Application, directory, *paths: str) -> list[tuple[int, dict]]:
    certificate, key = directory / "tls.crt", directory / "tls.key"
    for file, data in zip(
        (certificate, key),
        certificates.self_signed(datetime.datetime.now(datetime.UTC)),
        strict=True,
    ):
        file.write_bytes(data)
    server = httpserver.HTTPServer(routes, ssl_options=tls.context(str(certificate), str(key), ""))
    (socket,) = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    client = httpclient.AsyncHTTPClient(force_instance=True)
    try:
        base = f"https://127.0.0.1:{socket.getsockname()[1]}"
        answers = [
            await client.fetch(base + path, raise_error=False, ca_certs=str(certificate))
            for path in paths
        ]
        return [(answer.code, json.loads(answer.body)) for answer in answers]
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()
