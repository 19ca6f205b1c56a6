"""The node: a bridge, CNI, containerd in private directories, and the kubelet."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import yaml

from tests.e2e.cluster.assets import Assets
from tests.e2e.cluster.control import NODE, ControlPlane, free_port
from tests.e2e.cluster.daemons import Daemons
from tests.e2e.cluster.slot import Slot
from tests.support.waiting import until

PAUSE = "docker.io/local/pause:1"
CGROUPS = Path("/sys/fs/cgroup")
_CNI_BIN = ("/opt/cni/bin", "/usr/lib/cni")
_CONTAINERD_S = 30.0
_NODE_S = 120.0

_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/run"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Where CAP_SYS_RESOURCE is missing runc cannot lower an oom_score_adj and dies.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{directory}/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{directory}/cni"
"""


class Node:
    """The one node of the cluster; `runtime_state` is containerd's directory of containers."""

    def __init__(self, directory: Path, slot: Slot, assets: Assets, daemons: Daemons) -> None:
        self._directory = directory
        self._slot = slot
        self._assets = assets
        self._daemons = daemons
        self.socket = directory / "containerd.sock"
        self.runtime_state = directory / "run/io.containerd.runtime.v2.task/k8s.io"

    def make_network(self) -> None:
        """The bridge, before kube-apiserver wants its addresses."""
        bridge = self._slot.bridge
        self._ip("link", "add", bridge, "type", "bridge")
        self._ip("addr", "add", f"{self._slot.gateway}/16", "dev", bridge)
        self._ip("addr", "add", f"{self._slot.api}/32", "dev", bridge)
        self._ip("link", "set", bridge, "up")

    def start_containerd(self) -> None:
        cni_bin = next(place for place in _CNI_BIN if (Path(place) / "bridge").exists())
        config = self._directory / "containerd.toml"
        values = {"directory": self._directory, "pause": PAUSE, "cni_bin": cni_bin}
        config.write_text(_CONTAINERD.format(**values))
        self._write_cni()
        self._daemons.start("containerd", (self._assets["containerd"], "--config", config))
        until("containerd to answer", self._containerd_answers, _CONTAINERD_S)

    def import_image(self, archive: Path) -> None:
        """Import an OCI archive into the node's image store."""
        self._ctr("images", "import", "--no-unpack", str(archive))

    def start_kubelet(self, control: ControlPlane) -> None:
        groups = ("system:nodes",)
        kubeconfig = control.kubeconfig("kubelet", f"system:node:{NODE}", groups)
        config = self._directory / "kubelet.yaml"
        config.write_text(yaml.safe_dump(self._kubelet_config(control)))
        endpoint = f"unix://{self.socket}"
        runtime: tuple[str, ...] = ()
        if self._assets.kubelet_release < (1, 27):
            runtime = ("--container-runtime=remote", f"--container-runtime-endpoint={endpoint}")
        self._make_cgroup()
        self._daemons.start(
            "kubelet",
            (
                self._assets["kubelet"],
                f"--config={config}",
                f"--kubeconfig={kubeconfig}",
                f"--root-dir={self._directory / 'kubelet'}",
                f"--cert-dir={self._directory / 'kubelet-pki'}",
                f"--node-ip={self._slot.gateway}",
                f"--hostname-override={NODE}",
                *runtime,
            ),
        )

    def wait_ready(self, kubectl: list[str]) -> None:
        """Until the node is Ready and pods can be created in the default namespace."""

        def ready() -> bool:
            for name in ("kubelet", "containerd", "kube-controller-manager", "kube-scheduler"):
                self._daemons.check(name)
            node, account = (
                subprocess.run([*kubectl, *words.split()], capture_output=True, timeout=30)
                for words in (f"get node {NODE} -o json", "get serviceaccount default")
            )
            if node.returncode or account.returncode:
                return False
            found = json.loads(node.stdout)
            return not found["spec"].get("taints") and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in found["status"]["conditions"]
            )

        until(f"{NODE} to be Ready", ready, _NODE_S, every_s=0.5)

    def _kubelet_config(self, control: ControlPlane) -> dict[str, object]:
        config: dict[str, object] = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._slot.gateway,
            "healthzPort": free_port(),
            "readOnlyPort": 0,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._slot.cgroup}",
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,  # services need none here; leave the machine's rules
            "volumePluginDir": str(self._directory / "flexvolume"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(control.authority.pair.cert)},
            },
            "authorization": {"mode": "Webhook"},
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "resolvConf": "/dev/null",
            "clusterDNS": [self._slot.api],  # nobody answers there; it spares a warning per pod
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
        }
        if self._assets.kubelet_release >= (1, 27):
            config["containerRuntimeEndpoint"] = f"unix://{self.socket}"
        if self._assets.kubelet_release >= (1, 31):
            config["failCgroupV1"] = False
        return config

    def _write_cni(self) -> None:
        conf = self._directory / "cni"
        conf.mkdir(exist_ok=True)
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": self._slot.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self._directory / "cni-addresses"),
        }
        bridge = {
            "type": "bridge",
            "bridge": self._slot.bridge,
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": ipam,
        }
        document = {"cniVersion": "0.3.1", "name": self._slot.bridge, "plugins": [bridge]}
        (conf / "10-bridge.conflist").write_text(json.dumps(document))

    def _make_cgroup(self) -> None:
        """The kubelet wants its root cgroup to exist, in every v1 hierarchy or in the one of v2.

        A cpuset cgroup (v1) starts out empty and admits no process until it has CPUs and nodes.
        """
        if (CGROUPS / "cgroup.controllers").exists():
            (CGROUPS / self._slot.cgroup).mkdir(exist_ok=True)
            return
        for hierarchy in CGROUPS.iterdir():
            if hierarchy.is_symlink() or not (hierarchy / "cgroup.procs").exists():
                continue
            own = hierarchy / self._slot.cgroup
            own.mkdir(exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):
                if (own / knob).exists():
                    (own / knob).write_text((hierarchy / knob).read_text())

    def _containerd_answers(self) -> bool:
        self._daemons.check("containerd")
        with contextlib.suppress(subprocess.CalledProcessError):
            self._ctr("version")
            return True
        return False

    def _ctr(self, *words: str) -> None:
        argv = [self._assets["ctr"], "--address", self.socket, "--namespace", "k8s.io", *words]
        subprocess.run(argv, check=True, capture_output=True, timeout=300)

    def _ip(self, *words: str) -> None:
        subprocess.run([self._assets["ip"], *words], check=True, timeout=30)
