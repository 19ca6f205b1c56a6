"""Which requests go through a proxy: seen by a proxy on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import dumps, pki
from support.kube import controlplane
from support.proxy import Proxy
from support.server import servers, uploads

from coredumpd import errors
from coredumpd.kube import client as clients
from coredumpd.settings import backends
from coredumpd.store import engines as stores

# RFC 5737, for documentation: nobody answers there.
NOWHERE = "192.0.2.7"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy, which the environment names for everything."""
    with Proxy() as made:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("HTTPS_PROXY", made.url)
        monkeypatch.setenv("HTTP_PROXY", made.url)
        yield made


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[controlplane.ControlPlane]:
    with controlplane.ControlPlane(tmp_path) as made:
        yield made


def kubeconfig(kube: controlplane.ControlPlane, server: str, **cluster: str) -> str:
    """A kubeconfig that reaches `kube` under another name."""
    document = yaml.safe_load(kube.kubeconfig().read_text())
    document["clusters"][0]["cluster"] |= {
        "server": server,
        "tls-server-name": "localhost",
        **cluster,
    }
    path = kube.directory / "other-kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def namespaces(path: str | None) -> int:
    async def ask() -> int:
        async with await clients.connect(path) as client:
            _, document = await client.request("GET", "/api/v1/namespaces", timeout_s=3)
            return len(document["items"])

    return asyncio.run(ask())


def test_an_api_outside_is_asked_through_the_proxy_with_its_password(kube, proxy, monkeypatch):
    proxy.routes["kube.example"] = kube.port
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
    assert namespaces(kubeconfig(kube, "https://kube.example:6443")) == 2
    assert proxy.requests[0] == ("CONNECT", "kube.example:6443", "basic bwu6c2vjcmv0")


def test_the_proxy_of_the_kubeconfig_comes_first(kube, proxy, monkeypatch):
    proxy.routes["kube.example"] = kube.port
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    path = kubeconfig(kube, "https://kube.example:6443", **{"proxy-url": proxy.url})
    assert namespaces(path) == 2
    assert proxy.hosts == ["kube.example"]


@pytest.mark.parametrize("no_proxy", ["192.0.2.0/24", NOWHERE, "*"])
def test_an_api_in_a_range_of_no_proxy_is_asked_directly(kube, proxy, monkeypatch, no_proxy):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with pytest.raises(errors.Unavailable):
        namespaces(kubeconfig(kube, f"https://{NOWHERE}:6443"))
    assert proxy.requests == []


def test_the_api_of_our_own_cluster_is_never_asked_through_a_proxy(
    kube, proxy, monkeypatch, tmp_path
):
    (tmp_path / "token").write_text("token")
    (tmp_path / "ca.crt").write_text(kube.ca_file.read_text())
    monkeypatch.setattr(clients, "_SERVICE_ACCOUNT_DIR", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", NOWHERE)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    with pytest.raises(errors.Unavailable):
        namespaces(None)
    assert proxy.requests == []


def test_a_server_is_ready_although_a_proxy_is_set_for_others(kind, kube, proxy, tmp_path):
    """The process itself, source and frozen: once by the proxy, once directly."""
    certificate, key = pki.Authority(tmp_path, "serving-ca").issue("coredumpd")
    (tmp_path / "store").mkdir()
    settings = {
        "store": f"file://{tmp_path}/store",
        "objects": f"sqlite:///{tmp_path}/objects.db",
        "port": 0,
        "tlsCertFile": str(certificate),
        "tlsKeyFile": str(key),
        "shutdownDelay": "0",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"server": settings}))
    proxy.routes["kube.example"] = kube.port
    for path, hosts in (
        (str(kube.kubeconfig()), []),
        (kubeconfig(kube, "https://kube.example:6443"), ["kube.example"]),
    ):
        arguments = ["--config", str(tmp_path / "config.yaml"), "--kubeconfig", path]
        with servers.running(kind, arguments, tmp_path / "server.log") as server:
            client = servers.Client(server.port, tmp_path / "serving-ca.crt")
            assert client.ask("GET", "/readyz").code == 200
        assert sorted(set(proxy.hosts)) == hosts


def test_an_upload_goes_through_the_proxy_unless_no_proxy_has_its_range(
    tmp_path, proxy, monkeypatch
):
    world = uploads.World(tmp_path / "world")
    world.authority.issue("coredumpd", names=["coredumpd.example", "127.0.0.1"])
    world.kube.pod("team-a", "web-0", dumps.POD_UID)
    with world.kube:
        server = world.start()
        try:
            proxy.routes["coredumpd.example"] = server.port
            settings = world.target()._settings
            url = f"https://coredumpd.example:{server.port}"
            target = stores.open_target(url, backends.BucketSettings(), settings)
            target.commit(*dumps.make())
            assert set(proxy.hosts) == {"coredumpd.example"}
            proxy.requests.clear()
            world.target().commit(*dumps.make(pid=2))
            assert proxy.requests == []  # 127.0.0.1
        finally:
            server.stop()
    monkeypatch.setenv("NO_PROXY", "192.0.2.0/24")
    monkeypatch.setattr("coredumpd.store.uploading.TIMEOUT_S", 1.0)
    target = stores.open_target(f"https://{NOWHERE}:8443", backends.BucketSettings(), settings)
    with pytest.raises(errors.StorageError):
        target.commit(*dumps.make())
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_asked"),
    [
        ("s3.example", "", True),
        (NOWHERE, "10.0.0.0/8", True),
        (NOWHERE, "192.0.2.0/24", False),
        ("127.0.0.1", "", False),
        ("minio.storage.svc", "", False),
    ],
)
def test_a_bucket_goes_through_the_proxy_unless_no_proxy_has_its_range(
    proxy, monkeypatch, host, no_proxy, is_asked
):
    from coredumpd.store.bucket import clouds

    monkeypatch.setenv("NO_PROXY", no_proxy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    settings = backends.BucketSettings(endpoint=f"http://{host}:9", pathStyle=True)
    small, _ = clouds.connect("s3://cores/x", settings, retries_max=0)
    import obstore

    with pytest.raises(Exception, match=r"."):
        obstore.head(small, "meta.json")
    assert (host in proxy.hosts) == is_asked
