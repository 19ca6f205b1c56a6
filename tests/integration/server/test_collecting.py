"""The collector in a whole server, before a control plane that speaks TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support import dumps, pki, waiting
from support.kube import controlplane
from support.server import servers

from coredumpd.formats import quota_notice
from coredumpd.store import engines as stores

LEASE = "/apis/coordination.k8s.io/v1/namespaces/coredumpd/leases/coredumpd-collector"
DEADLINE_S = 60
Start = Callable[..., servers.Server]


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[controlplane.ControlPlane]:
    with controlplane.ControlPlane(tmp_path) as made:
        made.objects["/api/v1/namespaces"] = {
            "items": [made.objects[f"/api/v1/namespaces/team-{one}"] for one in "ab"]
        }
        yield made


@pytest.fixture
def start(
    tmp_path: Path, kube: controlplane.ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    monkeypatch.setenv("POD_NAMESPACE", "coredumpd")
    (tmp_path / "store").mkdir()
    certificate, key = pki.Authority(tmp_path, "serving-ca").issue("coredumpd")
    running = []

    def server(name: str, **retention: str) -> servers.Server:
        settings = {
            "server": {
                "store": f"file://{tmp_path}/store",
                "objects": f"sqlite:///{tmp_path}/{name}.db",
                "port": 0,
                "tlsCertFile": str(certificate),
                "tlsKeyFile": str(key),
                "shutdownDelay": "0",
            },
            "retention": {"interval": "200ms", "gcThreshold": "1s"} | retention,
        }
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(settings))
        arguments = ["--config", str(config), "--kubeconfig", str(kube.kubeconfig())]
        running.append(servers.Server("source", arguments, tmp_path / f"{name}.log"))
        return running[-1]

    yield server
    for one in running:
        if one.process.poll() is None:
            one.stop()


def test_a_deleted_pods_dumps_go_and_a_living_ones_stay(tmp_path, kube, start):
    stored = stores.open_store(f"file://{tmp_path}/store")
    gone = dumps.make(pod_uid="gone")
    lives = dumps.make(pod_uid="lives")
    other = dumps.make(namespace="team-z")  # a namespace that is not there
    for dump in (gone, lives, other):
        stored.commit(*dump)
    kube.pod("team-a", "web-1", "lives")
    start("one")
    waiting.until("the rest to go", lambda: list(stored.list()) == [lives[0]], DEADLINE_S)


def test_of_two_servers_one_collects_and_the_other_takes_over(tmp_path, kube, start):
    first = start("one")
    waiting.until("one to lead", lambda: "leading" in first.log.read_text(), DEADLINE_S)
    second = start("two")
    holder = kube.objects[LEASE]["spec"]["holderIdentity"]
    assert holder
    assert first.stop() == 0
    waiting.until("the other to lead", lambda: "leading" in second.log.read_text(), DEADLINE_S)
    assert kube.objects[LEASE]["spec"]["holderIdentity"] not in ("", holder)


def test_a_server_that_rejects_over_quota_tells_agents_and_the_pods_owner(tmp_path, kube, start):
    stored = stores.open_store(f"file://{tmp_path}/store")
    dump = dumps.make(pod_uid="lives")
    stored.commit(*dump)
    kube.pod("team-a", "web-1", "lives")
    where = f"/api/v1/namespaces/coredumpd/configmaps/{quota_notice.CONFIG_MAP}"
    kube.objects[where] = {"metadata": {"name": quota_notice.CONFIG_MAP}}
    start("one", quota="1", onQuota="reject")
    said = lambda: quota_notice.reached(kube.objects[where]) == {"team-a"}  # noqa: E731
    waiting.until("the ConfigMap", said, DEADLINE_S)
    waiting.until("the Event", lambda: kube.created("events"), DEADLINE_S)
    assert kube.created("events")[0]["reason"] == "CoreDumpQuota"
    assert list(stored.list()) == [dump[0]]
