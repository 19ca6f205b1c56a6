"""Tokens of a real kube-apiserver: which node they prove, as its own TokenReview says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import dumps, pki
from support.kube import apiserver
from support.server import servers, uploads

from coredumpd.formats import layout, upload

AGENTS = "coredumpd"
ACCOUNT = "/api/v1/namespaces/coredumpd/serviceaccounts/coredumpd-agent"
TENANT = "team-a"


@dataclasses.dataclass
class Cluster:
    """A kube-apiserver with agents' pods on two nodes, and a tenant's pod on the first."""

    api: servers.Client
    directory: Path

    def kubeconfig(self) -> Path:
        certificate = self.api.certificate
        assert certificate is not None
        return pki.kubeconfig(
            self.directory / "kubeconfig",
            f"https://127.0.0.1:{self.api.port}",
            self.api.ca_file,
            pki.Pair(*certificate),
        )

    def make(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        reply = self.api.ask("POST", path, document)
        assert reply.code == 201, reply.body
        return reply.json

    def pod(self, namespace: str, name: str, node: str, account: str) -> dict[str, Any]:
        spec = {
            "nodeName": node,
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": "local/app"}],
        }
        document = {"metadata": {"name": name}, "spec": spec}
        return self.make(f"/api/v1/namespaces/{namespace}/pods", document)["metadata"]

    def token(self, pod: dict[str, Any] | None = None) -> str:
        """A token of the agents' account, as the kubelet asks for one, or bound to nothing."""
        spec = {}
        if pod is not None:
            bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["name"], "uid": pod["uid"]}
            spec["boundObjectRef"] = bound
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        token: str = self.make(f"{ACCOUNT}/token", body)["status"]["token"]
        return token


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with apiserver.running(directory) as api:
        made = Cluster(api, directory)
        for namespace, account in ((AGENTS, "coredumpd-agent"), (TENANT, "default")):
            made.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
            accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
            made.make(accounts, {"metadata": {"name": account}})
        rule = {"nonResourceURLs": ["/agent/v1/*"], "verbs": ["get", "update"]}
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        made.make(f"{rbac}/clusterroles", {"metadata": {"name": "agent"}, "rules": [rule]})
        binding = {
            "metadata": {"name": "agent"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "agent",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "coredumpd-agent", "namespace": AGENTS}
            ],
        }
        made.make(f"{rbac}/clusterrolebindings", binding)
        yield made


@pytest.fixture(scope="module")
def world(
    program: str, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[uploads.World]:
    directory = tmp_path_factory.mktemp("uploads") / "world"
    made = uploads.World(directory, program, cluster.kubeconfig())
    server = made.start()
    yield made
    server.stop()


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[dict[str, str]]:
    """Tokens by node, bound to the agent's pod there."""
    nodes = ("node1", "node2")
    pods = {
        node: cluster.pod(AGENTS, f"coredumpd-agent-{node}", node, "coredumpd-agent")
        for node in nodes
    }
    yield {node: cluster.token(pods[node]) for node in nodes}
    for pod in pods.values():
        cluster.api.ask("DELETE", f"/api/v1/namespaces/{AGENTS}/pods/{pod['name']}", NOW)


NOW = {"gracePeriodSeconds": 0}


@pytest.fixture
def victim(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """A tenant's pod on node1."""
    pod = cluster.pod(TENANT, "web-0", "node1", "default")
    yield pod
    cluster.api.ask("DELETE", f"/api/v1/namespaces/{TENANT}/pods/web-0", NOW)


def put(world: uploads.World, token: str, pod: dict[str, Any], node: str) -> servers.Reply:
    key, record, core = dumps.make(pod_uid=pod["uid"], node=node, namespaceUID=None)
    client = world.client(token)
    return client.ask("PUT", upload.path(key), upload.head(record) + core.getvalue())


def test_a_token_as_the_kubelet_mounts_it_proves_its_node(world, cluster, agents, victim):
    assert put(world, agents["node1"], victim, "node1").code == 201
    (key,) = world.store.list(layout.Prefix(TENANT))
    record = world.store.read_record(key)
    namespace = cluster.api.ask("GET", f"/api/v1/namespaces/{TENANT}").json
    assert record.namespace_uid == namespace["metadata"]["uid"]
    assert record.attribution == "api"
    world.store.delete(key)


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_it_proves_no_other_node_and_no_other_nodes_pod(world, agents, victim, node):
    reply = put(world, agents["node2"], victim, node)
    assert reply.code == 403, reply.body
    assert list(world.store.files()) == []


def test_a_token_that_is_bound_to_no_pod_proves_nothing(world, cluster, victim):
    reply = put(world, cluster.token(), victim, "node1")
    assert reply.code == 403
    assert "bound to no pod" in reply.json["message"]


def test_with_the_agents_pod_its_token_ends(world, cluster, victim):
    pod = cluster.pod(AGENTS, "coredumpd-agent-gone", "node1", "coredumpd-agent")
    token = cluster.token(pod)
    cluster.api.ask("DELETE", f"/api/v1/namespaces/{AGENTS}/pods/{pod['name']}", NOW)
    assert put(world, token, victim, "node1").code in (401, 403)
    assert list(world.store.files()) == []
