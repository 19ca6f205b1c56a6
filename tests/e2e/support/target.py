"""The cluster that the tests run on: one that we start, or one that is there already."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.e2e.cluster import single
from tests.e2e.support import audited, images, names
from tests.e2e.support.kubectl import Kubectl
from tests.support import crashers

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "dist/coredumpd.oci.tar"
NAMESPACE, SERVICE = "coredumpd", "coredumpd-api"
_HOST = f"{SERVICE}.{NAMESPACE}.svc"
SERVER = 65532  # uid and gid of the server
NEITHER = (
    "neither KUBEBUILDER_ASSETS (a directory with kube-apiserver, kube-controller-manager,"
    " kube-scheduler and kubelet) nor KUBECONFIG (a cluster with our images) is set"
)


class Target:
    """A cluster with our images. `own` is None when somebody else started it."""

    def __init__(self, directory: Path, own: single.Cluster | None) -> None:
        self.directory = directory
        self.own = own
        self.crashers = directory
        program = str(own.assets["kubectl"]) if own else shutil.which("kubectl") or "kubectl"
        self._program = program
        kubeconfig = own.control.admin if own else Path(os.environ["KUBECONFIG"])
        self.admin = Kubectl(program, kubeconfig)
        for name in ("crasher", "crasher_threads"):
            crashers.compiled(name, directory)

    def user(self, name: str, *groups: str) -> Kubectl:
        """A user without any right yet: by a client certificate, or by impersonation."""
        if self.own:
            return Kubectl(self._program, self.own.control.kubeconfig(name, name, groups))
        return self._impersonating(name, [*groups, "system:authenticated"])

    def anonymous_status(self, path: str) -> int:
        """The HTTP status that a caller without credentials gets. (kubectl would prompt.)"""
        config = self.admin("config", "view", "--raw", "--minify", "--flatten")
        cluster = yaml.safe_load(config)["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        trust = ssl.create_default_context(cadata=authority)
        try:
            with urllib.request.urlopen(cluster["server"] + path, context=trust) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def deploy_options(self) -> list[str]:
        """What deploy.sh must be told about this cluster."""
        if self.own is None:
            return shlex.split(os.environ.get("COREDUMPD_DEPLOY_OPTIONS", ""))
        return [
            *("--pull-policy", "Never"),
            *("--host-dir", f"{self.directory}/host"),
            *("--runtime-state-dir", str(self.own.node.runtime_state)),
        ]

    def adapt(self, yaml: Path) -> None:
        """Our cluster has no kube-proxy, which turns the Service's port into the pod's."""
        if self.own is not None:
            yaml.write_text(
                yaml.read_text().replace(f"https://{_HOST}:443", f"https://{_HOST}:8443")
            )

    def server_address(self) -> str | None:
        """A ready server's address."""
        done = self.admin.run("get", "endpoints", SERVICE, "-n", NAMESPACE, "-o", "json")
        subsets = json.loads(done.stdout or b"{}").get("subsets") or [{}]
        addresses = subsets[0].get("addresses") or [{}]
        address: str | None = addresses[0].get("ip")
        return address

    def provide_volume(self) -> None:
        """A volume for the claim of deploy.sh: our cluster has no StorageClass. Safe to repeat."""
        if self.own is None:
            return
        place = self.directory / "claim"
        place.mkdir(exist_ok=True)
        os.chown(place, SERVER, SERVER)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "coredump-store"},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(place)},
            },
        }
        path = self.directory / "volume.json"
        path.write_text(json.dumps(volume))
        # One whose claim was deleted is bound to that claim for ever.
        self.admin.run("delete", "persistentvolume", "coredump-store", "--ignore-not-found")
        self.admin("create", "-f", str(path))

    def _impersonating(self, name: str, groups: list[str]) -> Kubectl:
        document = yaml.safe_load(self.admin("config", "view", "--raw", "--minify", "--flatten"))
        document["users"][0]["user"].update({"as": name, "as-groups": groups})
        path = self.directory / f"{name.replace(':', '-')}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return Kubectl(self._program, path)


def configured() -> bool:
    """Is there anything to run on?"""
    return bool(os.environ.get("KUBEBUILDER_ASSETS") or os.environ.get("KUBECONFIG"))


@contextlib.contextmanager
def ready() -> Iterator[Target]:
    """The cluster, with `dist/coredumpd.oci.tar` and the crashers' image on its node."""
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        with tempfile.TemporaryDirectory(prefix="coredumpd-e2e-") as directory:
            yield Target(Path(directory), None)
        return
    policy = json.dumps(
        {
            "apiVersion": "abac.authorization.kubernetes.io/v1beta1",
            "kind": "Policy",
            "spec": {
                "user": "abby",
                "namespace": "default",
                "apiGroup": "coredump.fujitsu.com",
                "resource": "coredumpendpoints",
                "readonly": True,
            },
        }
    )
    # Not in /tmp: the agent refuses a hostDir below a directory that others can write.
    directory = Path(tempfile.mkdtemp(prefix="cd-e2e-", dir="/var/lib"))
    flags = audited.flags(directory)
    with single.running(directory=directory, abac_policy=policy, extra=flags) as cluster:
        cluster.node.import_image(IMAGE)
        cluster.node.import_image(images.programs(cluster.directory))
        target = Target(cluster.directory, cluster)
        with names.served(cluster.slot.api, _HOST, target.server_address):
            yield target
