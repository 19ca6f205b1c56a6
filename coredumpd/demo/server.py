"""The demo's `server --standalone`, and requests to it over HTTPS with its token and certificate.

Tested in: tests/integration/test_demo.py
"""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from coredumpd import errors
from coredumpd.demo import roles, sample
from coredumpd.formats import api


class Server:
    """`coredumpd server --standalone` while the block runs."""

    def __init__(self, work: Path) -> None:
        self.data = work / "server"
        words = ["server", "--standalone", "--data-dir", str(self.data), "--port", "0"]
        self.role = roles.background(work, [*words, "--store", f"file://{work}/store"])

    def __enter__(self) -> Server:
        self.role.__enter__()
        url = roles.wait("the server", self._address)
        resource = f"namespaces/{sample.NAMESPACE}/coredumpendpoints"
        self.url = f"{url}{api.PATH}/{resource}"
        roles.say(f"the server listens on {url}")
        return self

    def _address(self) -> str:
        """The server's URL, from the kubeconfig (JSON) that it writes once it listens."""
        kubeconfig = json.loads((self.data / "kubeconfig").read_bytes())
        return str(kubeconfig["clusters"][0]["cluster"]["server"])

    def __exit__(self, *reason: Any) -> None:
        self.role.__exit__(*reason)

    def request(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The open response to GET, or to POST of `body`. Raises Unavailable, with the reply."""
        token = (self.data / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        message = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 (https)
        context = ssl.create_default_context(cafile=str(self.data / "tls.crt"))
        try:
            secure = urllib.request.HTTPSHandler(context=context)
            no_proxy = urllib.request.ProxyHandler({})  # to the loopback address
            return urllib.request.build_opener(secure, no_proxy).open(message, timeout=30)
        except urllib.error.HTTPError as error:
            with error:
                raise errors.Unavailable(f"{self.url}{path}: {error.read().decode()}") from error

    def create(self) -> None:
        """Create the CoredumpEndpoint of the sample's pod: by uid, since the pod does not exist."""
        metadata = {"name": sample.POD, "namespace": sample.NAMESPACE}
        kind = {"apiVersion": api.GROUP_VERSION, "kind": "CoredumpEndpoint"}
        self.request("", kind | {"metadata": metadata, "spec": {"podUID": sample.POD_UID}}).close()

    def dumps(self) -> dict[str, Any]:
        """The endpoint's status once it counts a dump, else empty."""
        with self.request(f"/{sample.POD}") as response:
            status: dict[str, Any] = json.load(response)["status"]
        return status if status["dumps"] else {}

    def download(self, path: Path) -> Path:
        with self.request(f"/{sample.POD}/dump?container={sample.CONTAINER}") as response:
            with path.open("wb") as file:
                shutil.copyfileobj(response, file)
            size = path.stat().st_size
            roles.say(
                f"downloaded {size} bytes, Content-Length {response.headers['Content-Length']}"
            )
        return path
