"""A Kubernetes API server for tests: real TLS on a real socket, objects in a dict.

It answers GET, POST, PUT, DELETE of single objects and GET of collections with fieldSelector
left out, and keeps what it was asked. `answers` overrides a (method, path) by (status, document).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from multidict import CIMultiDict

from support import pki


class FakeKube:
    """Use as a context manager; `objects` maps a path to a document and may be changed any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.objects: dict[str, dict[str, Any]] = {}
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.collections = {"/api/v1/namespaces", "/api/v1/pods"}  # there, though empty
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[CIMultiDict[str]] = []
        self.delay_s = 0.0
        self.port = 0
        self._authority = pki.Authority(directory, "fake-kube-ca")
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-kube")

    def __enter__(self) -> FakeKube:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listen (again, on the same port)."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        """Hang up on everyone and refuse connections."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    def kubeconfig(self, token: str = "a-token") -> Path:
        """A kubeconfig for this server."""
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(self._authority.file),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "current-context": "fake",
        }
        path = self.directory / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    @property
    def ca_file(self) -> Path:
        """What clients verify this server with."""
        return self._authority.file

    def created(self, resource: str) -> list[dict[str, Any]]:
        """Bodies POSTed to a collection of `resource`, oldest first."""
        return [
            body
            for method, path, body in list(self.asked)
            if method == "POST" and path.endswith(f"/{resource}")
        ]

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*self._authority.issue("fake-kube"))
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            await asyncio.sleep(0.05)  # TLS transports close some turns of the loop later

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """All there is, then every change, until the client leaves or the server stops."""
        response = web.StreamResponse()
        await response.prepare(request)
        known: dict[str, str] = {}
        runner = self._runner  # another one, or none, once the server has stopped
        while request.transport is not None and not request.transport.is_closing():
            if self._runner is not runner:
                break
            there = {
                path: json.dumps(item)
                for path, item in self.objects.items()
                if path.rpartition("/")[0] == request.path
            }
            for path in known.keys() | there.keys():
                kind = "MODIFIED" if path in known else "ADDED"
                if path not in there:
                    kind = "DELETED"
                elif there[path] == known.get(path):
                    continue
                item = there.get(path) or known[path]
                await response.write(f'{{"type": "{kind}", "object": {item}}}\n'.encode())
            known = there
            await asyncio.sleep(0.05)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        body = json.loads(data) if data else None
        self.asked.append((request.method, request.path_qs, body))
        self.headers.append(request.headers.copy())
        await asyncio.sleep(self.delay_s)
        override = self.answers.get((request.method, request.path))
        if override is not None:
            status, document = override
            if isinstance(document, str):
                return web.Response(status=status, text=document)
            return web.json_response(document, status=status)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        match request.method:
            case "GET" if request.path in self.objects:
                return web.json_response(self.objects[request.path])
            case "GET":
                below = request.path + "/"
                items = [
                    item
                    for path, item in self.objects.items()
                    if path.startswith(below) and "/" not in path.removeprefix(below)
                ]
                if items or request.path in self.collections:
                    return web.json_response({"kind": "List", "metadata": {}, "items": items})
            case "POST":
                name = (body.get("metadata") or {}).get("name")
                path = f"{request.path}/{name}"
                if path in self.objects:
                    exists = {"kind": "Status", "reason": "AlreadyExists", "code": 409}
                    return web.json_response(exists, status=409)
                if name:
                    self.objects[path] = body
                return web.json_response(body, status=201)
            case "PUT" | "PATCH" if request.path in self.objects:
                self.objects[request.path] |= body
                return web.json_response(self.objects[request.path])
            case "DELETE" if request.path in self.objects:
                return web.json_response(self.objects.pop(request.path))
        name = request.path.rsplit("/", 1)[1]
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "message": f'"{name}" not found',
            "code": 404,
        }
        return web.json_response(document, status=404)
