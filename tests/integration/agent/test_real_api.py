"""A hostile tenant's pods as a real kube-apiserver accepts and shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import dumps, pki, waiting
from support.kube import apiserver
from support.server import servers

from coredumpd.formats import policy

KUBELETS = "kubernetes.io/config."
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Client]:
    with apiserver.running(tmp_path_factory.mktemp("api")) as client:
        for namespace in ("victim", "evil"):
            make(client, "/api/v1/namespaces", {"metadata": {"name": namespace}})
            account = {"metadata": {"name": "default"}}
            make(client, f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        yield client


def make(client: servers.Client, path: str, document: dict[str, Any]) -> dict[str, Any]:
    reply = client.ask("POST", path, document)
    assert reply.code == 201, reply.body
    return dict(reply.json["metadata"])


def pod(client: servers.Client, namespace: str, name: str, **meta: Any) -> dict[str, Any]:
    spec = {
        "nodeName": "node1",
        "automountServiceAccountToken": False,
        "containers": [{"name": "app", "image": "local/app"}],
    }
    document = {"metadata": {"name": name, **meta}, "spec": spec}
    return make(client, f"/api/v1/namespaces/{namespace}/pods", document)


HASH = "0123456789abcdef0123456789abcdef"  # of a static pod, as its node knows it


@pytest.fixture(scope="module")
def victim(api: servers.Client) -> dict[str, Any]:
    """Its pod; two pods of another namespace claim to mirror it, and a static pod beside it."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "made-up"}
    claims = {f"{KUBELETS}mirror": HASH, f"{KUBELETS}hash": HASH, f"{KUBELETS}source": "file"}
    optout = {"coredump.fujitsu.com/capture": "disabled"}
    victim = pod(api, "victim", "web-0")
    for number, claimed in enumerate((HASH, victim["uid"])):
        annotations = {name: claimed if value == HASH else value for name, value in claims.items()}
        pod(
            api,
            "evil",
            f"thief-{number}",
            annotations=annotations | optout,
            ownerReferences=[owner],
            finalizers=["example.com/stays"],
        )
    return victim


def test_a_pod_that_claims_to_be_the_mirror_of_anothers_static_pod_gets_nothing(
    node, api: servers.Client, victim: dict[str, Any], tmp_path: Path
) -> None:
    assert api.certificate is not None
    url = f"https://127.0.0.1:{api.port}"
    config = pki.kubeconfig(tmp_path / "real", url, api.ca_file, pki.Pair(*api.certificate))
    node.start("--kubeconfig", str(config), "--no-core-pattern")
    path = node.host_dir / "policy.json"

    def in_force() -> policy.Policy | None:
        rules = policy.parse(path.read_bytes())
        names = [own["namespace"] for own in rules.identities.values() if own["namespaceUID"]]
        return rules if "victim" in names and names.count("evil") >= 2 else None

    waiting.until("the snapshot", in_force, DEADLINE_S)
    for uid, namespace, name, expected in (
        (victim["uid"], "victim", "web-0", "enabled"),
        (HASH, "victim", "static-node1", "enabled"),
        (HASH, None, None, "enabled"),
        (HASH, "evil", "thief-0", "disabled"),
    ):
        rules = in_force()
        assert rules is not None
        rules.narrow(uid, namespace, name)
        assert rules.capture == expected, (uid, namespace, name)
    own = {"namespace": "victim", "podName": "web-0", "podUID": victim["uid"]}
    dumps.spooled(node.spool, "app-1", **own)
    (key,) = node.wait_stored(1)
    assert key.startswith(f"victim/{victim['uid']}/")
