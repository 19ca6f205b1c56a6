"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, with the aggregation flags."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path

from tests.e2e.cluster.assets import Assets
from tests.e2e.cluster.daemons import Daemons
from tests.e2e.cluster.slot import Slot
from tests.support import pki
from tests.support.waiting import until

NODE = "node1"
_READY_S = 90.0
_DAYS = 30  # of every certificate: a cluster may be kept for people


class ControlPlane:
    """The control plane of `slot`. `admin` is the path of the administrator's kubeconfig."""

    def __init__(self, directory: Path, slot: Slot, assets: Assets, daemons: Daemons) -> None:
        self._directory = directory
        self._slot = slot
        self._assets = assets
        self._daemons = daemons
        self.server = f"https://{slot.api}:443"
        self.pki = directory / "pki"
        self.pki.mkdir(mode=0o700, exist_ok=True)
        self.authority = pki.Authority(self.pki, "cluster-ca", days=_DAYS)
        self.front_authority = pki.Authority(self.pki, "front-proxy-ca", days=_DAYS)
        self.admin = self.kubeconfig("admin", "admin", ("system:masters",))

    def kubeconfig(self, name: str, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig file of `user`, known by a client certificate."""
        client = self.client(f"user-{name}", user, groups)
        path = self._directory / f"{name}.kubeconfig"
        return pki.kubeconfig(path, self.server, self.authority.pair.cert, client)

    def client(self, file_name: str, user: str, groups: tuple[str, ...] = ()) -> pki.Pair:
        """A certificate that the cluster accepts from `user`."""
        return self.authority.issue(user, *groups, file_name=file_name, names=(), usages=pki.CLIENT)

    def start(self, abac_policy: str, extra: tuple[str, ...]) -> None:
        """Start the four, in order, each ready before the next."""
        self._start_etcd()
        self._start_apiserver((*self._authorization(abac_policy), *extra))
        self._start_controllers()

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        pods = client.replace("127.0.0.1", self._slot.gateway)
        self.etcd = client
        self.etcd_for_pods = pods.removeprefix("http://")
        self._daemons.start(
            "etcd",
            (
                self._assets["etcd"],
                f"--data-dir={self._directory / 'etcd'}",
                f"--listen-client-urls={client},{pods}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ),
        )

    def _authorization(self, abac_policy: str) -> tuple[str, ...]:
        if not abac_policy:
            return ("--authorization-mode=Node,RBAC",)
        file = self._directory / "abac.jsonl"
        file.write_text(abac_policy)
        return ("--authorization-mode=Node,RBAC,ABAC", f"--authorization-policy-file={file}")

    def _start_apiserver(self, extra: tuple[str, ...]) -> None:
        slot, certs = self._slot, self.pki
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        serving = self.authority.issue(
            "kube-apiserver",
            file_name="apiserver",
            names=(*names, slot.api, slot.gateway, "127.0.0.1"),
            usages=pki.CLIENT_AND_SERVER,
        )
        kubelet_client = self.client("kubelet-client", "kube-apiserver", ("system:masters",))
        front = self.front_authority.issue(
            "front-proxy-client", file_name="front-proxy", names=(), usages=pki.CLIENT
        )
        tokens = pki.signing_key(certs, "service-accounts")
        self._daemons.start(
            "kube-apiserver",
            (
                self._assets["kube-apiserver"],
                f"--etcd-servers={self.etcd}",
                # No kube-proxy here, so the server sits where its own Service says it is.
                f"--bind-address={slot.api}",
                "--secure-port=443",
                f"--advertise-address={slot.gateway}",
                f"--service-cluster-ip-range={slot.services}",
                f"--cert-dir={certs}",
                f"--tls-cert-file={serving.cert}",
                f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={self.authority.pair.cert}",
                f"--service-account-key-file={tokens.cert}",
                f"--service-account-signing-key-file={tokens.key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--allow-privileged=true",
                f"--requestheader-client-ca-file={self.front_authority.pair.cert}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={front.cert}",
                f"--proxy-client-key-file={front.key}",
                # The aggregator dials the Service's endpoints itself.
                "--enable-aggregator-routing=true",
                f"--kubelet-client-certificate={kubelet_client.cert}",
                f"--kubelet-client-key={kubelet_client.key}",
                "--kubelet-preferred-address-types=InternalIP",
                *extra,
            ),
        )
        until("kube-apiserver to be ready", self._ready, _READY_S)

    def _ready(self) -> bool:
        self._daemons.check("etcd")
        self._daemons.check("kube-apiserver")
        with contextlib.suppress(subprocess.TimeoutExpired):
            argv = [self._assets["kubectl"], "--kubeconfig", self.admin, "get", "--raw=/readyz"]
            done = subprocess.run(argv, capture_output=True, check=False, timeout=20)
            return done.stdout == b"ok"
        return False

    def _start_controllers(self) -> None:
        tokens = self.pki / "service-accounts.key"
        insecure = ("--port=0",) if self._assets.release < (1, 23) else ()
        for name, own in (
            (
                "kube-controller-manager",
                (
                    "--use-service-account-credentials=true",
                    f"--service-account-private-key-file={tokens}",
                    f"--root-ca-file={self.authority.pair.cert}",
                    f"--cert-dir={self.pki}",
                    "--controllers=*,bootstrapsigner,tokencleaner",
                    f"--flex-volume-plugin-dir={self._directory / 'flexvolume'}",
                ),
            ),
            ("kube-scheduler", (f"--cert-dir={self.pki}",)),
        ):
            config = self.kubeconfig(name, f"system:{name}")
            self._daemons.start(
                name,
                (
                    self._assets[name],
                    f"--kubeconfig={config}",
                    f"--authentication-kubeconfig={config}",
                    f"--authorization-kubeconfig={config}",
                    "--leader-elect=false",
                    "--bind-address=127.0.0.1",
                    f"--secure-port={free_port()}",
                    *insecure,
                    *own,
                ),
            )


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
