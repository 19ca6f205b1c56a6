"""A fake kube-apiserver as an aggregated server needs one: trust, token and access reviews."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from support import pki
from support.kube import fakekube

TRUST = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
SAR = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"


class ControlPlane(fakekube.FakeKube):
    """`may` decides access reviews; `tokens` maps a token to a user; CAs are real."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.client_ca = pki.Authority(directory, "client-ca")
        self.proxy_ca = pki.Authority(directory, "proxy-ca")
        self.tokens: dict[str, dict[str, Any]] = {}
        self.may: Callable[[dict[str, Any]], bool] = lambda spec: True
        self.reviews: list[dict[str, Any]] = []
        self.publish_trust()
        for namespace in ("team-a", "team-b"):
            self.namespace(namespace, f"{namespace}-uid")

    def publish_trust(self, **changed: str) -> None:
        """Write the ConfigMap that kube-apiserver writes."""
        data = {
            "client-ca-file": self.client_ca.pem,
            "requestheader-client-ca-file": self.proxy_ca.pem,
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
        }
        self.objects[TRUST] = {"kind": "ConfigMap", "data": data | changed}

    def namespace(self, name: str, uid: str, created: str = "2026-01-01T00:00:00Z") -> None:
        """A namespace, made anew if there was one of that name."""
        meta = {"name": name, "uid": uid, "creationTimestamp": created}
        path = f"/api/v1/namespaces/{name}"
        self.objects[path] = {"metadata": meta, "status": {"phase": "Active"}}

    def pod(self, namespace: str, name: str, uid: str, node: str = "node1", **keys: str) -> None:
        """A living pod on `node`; `keys` are annotations of ours."""
        annotations = {f"coredump.fujitsu.com/{key}": value for key, value in keys.items()}
        meta = {"name": name, "namespace": namespace, "uid": uid, "annotations": annotations}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.objects[path] = {"metadata": meta, "spec": {"nodeName": node}}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and (request.method, request.path) not in self.answers:
            spec = json.loads(await request.read()).get("spec")
            await asyncio.sleep(self.delay_s)
            if request.path == SAR:
                self.reviews.append(spec)
                return web.json_response({"status": {"allowed": self.may(spec)}}, status=201)
            if request.path == TOKENS:
                user = self.tokens.get(spec["token"])
                status = {"authenticated": True, "user": user} if user else {"authenticated": False}
                return web.json_response({"status": status}, status=201)
        return await super()._answer(request)
