"""What namespaces and pods say, from Kubernetes to the handler's snapshot."""

from __future__ import annotations

import json

from support import dumps, waiting

from coredumpd.formats import names, quota_notice

PREFIX = "coredump.fujitsu.com/"


def said(**annotations):
    return {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}


def namespace(kube, name, **annotations):
    meta = {"name": name, "uid": f"ns-{name}", "annotations": said(**annotations)}
    kube.objects[f"/api/v1/namespaces/{name}"] = {"metadata": meta}


def pod(kube, namespace, name, **annotations):
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    item = {"metadata": meta | {"annotations": said(**annotations)}, "status": {}}
    kube.objects[f"/api/v1/pods/{name}"] = item
    kube.objects[f"/api/v1/namespaces/{namespace}/pods/{name}"] = item


def snapshot(node):
    return json.loads((node.host_dir / "policy.json").read_bytes())


def until(node, what, condition):
    waiting.until(what, lambda: condition(snapshot(node)), 30)


def start(node, kube):
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")


def test_annotations_reach_the_handlers_snapshot_and_leave_it_again(node, kube):
    namespace(kube, "default", max_size="2Gi")
    pod(kube, "default", "web", max_size="1Gi")
    pod(kube, "default", "secret", capture="disabled")
    start(node, kube)
    until(node, "both pods", lambda now: len(now["pods"]) == 2)
    now = snapshot(node)
    assert now["namespaces"]["default"]["maxSize"] == 2 * 1024**3
    assert now["pods"]["uid-web"]["maxSize"] == 1024**3
    assert now["pods"]["uid-secret"]["capture"] == "disabled"
    assert (node.host_dir / "policy.json").stat().st_mode & 0o777 == 0o600
    namespace(kube, "default")
    del kube.objects["/api/v1/pods/secret"]
    until(
        node, "the change", lambda now: not now["namespaces"] and list(now["pods"]) == ["uid-web"]
    )


def test_an_annotation_that_cannot_be_obeyed_is_told_to_its_pod_once(node, kube):
    pod(kube, "default", "web", max_size="2GB", capture="of")
    start(node, kube)
    waiting.until("two Events", lambda: len(kube.created("events")) == 2, 30)
    events = sorted(kube.created("events"), key=lambda event: event["message"])
    assert [event["reason"] for event in events] == ["CoreDumpPolicy"] * 2
    assert all(event["involvedObject"]["uid"] == "uid-web" for event in events)
    assert "coredump.fujitsu.com/capture: 'of': must be enabled or disabled" in events[0]["message"]
    assert events[0]["message"].endswith("taken as disabled")
    assert events[1]["message"].endswith("8Gi stands")
    assert snapshot(node)["pods"]["uid-web"]["capture"] == "disabled"
    namespace(kube, "other", max_size="1Gi")  # another change says nothing again
    until(node, "the change", lambda now: "other" in now["namespaces"])
    assert len(kube.created("events")) == 2


def test_a_namespaces_mistake_is_logged_once(node, kube):
    namespace(kube, "default", max_size="2GB")
    start(node, kube)
    waiting.until("the log line", lambda: "namespace default: annotation" in node.logged(), 30)
    namespace(kube, "other", max_size="1Gi")  # another change says nothing again
    until(node, "the change", lambda now: "other" in now["namespaces"])
    (line,) = [line for line in node.logged().splitlines() if "namespace default:" in line]
    assert "max-size: '2GB'" in line
    assert "8Gi stands" in line


def test_an_agent_that_starts_while_the_api_is_away_keeps_what_tenants_said(node, kube):
    namespace(kube, "default", capture="disabled")
    start(node, kube)
    until(node, "the namespace", lambda now: "default" in now["namespaces"])
    node.stop()
    config = str(kube.kubeconfig())
    kube.stop()
    node.policy = {"maxSize": "1Gi"}
    node.start("--kubeconfig", config, "--no-core-pattern")
    assert snapshot(node)["maxSize"] == 1024**3
    assert snapshot(node)["namespaces"]["default"]["capture"] == "disabled"


def test_a_dump_of_a_pod_that_wants_none_does_not_leave_the_node(node, kube):
    """The handler was faster than the news of the pod."""
    namespace(kube, "default", capture="disabled")
    start(node, kube)
    until(node, "the namespace", lambda now: "default" in now["namespaces"])
    dumps.spooled(node.spool, "app-1")
    dumps.spooled(node.spool, "app-2", namespace="other", containerID="d" * 64)
    assert [key.partition("/")[0] for key in node.wait_stored(1)] == ["other"]
    assert 'coredumpd_agent_skipped_total{reason="policy"} 1.0' in node.get("/metrics")[1]


def test_a_quota_that_the_server_says_is_reached_stops_new_cores_until_it_says_otherwise(
    node, kube, monkeypatch
):
    monkeypatch.setenv("POD_NAMESPACE", "coredumpd")
    namespace(kube, "default")
    kube.collections.add("/api/v1/namespaces/coredumpd/configmaps")
    where = f"/api/v1/namespaces/coredumpd/configmaps/{quota_notice.CONFIG_MAP}"
    kube.objects[where] = quota_notice.document(["default"])
    start(node, kube)
    until(node, "the quota", lambda now: now["namespaces"].get("default", {}).get("quotaReached"))
    kube.objects[where] = quota_notice.document([])
    until(node, "the room", lambda now: not now["namespaces"])


def test_of_a_crash_loop_in_the_spool_two_and_three_keep_their_core(node):
    for number in range(12):
        id = names.make_id("app", 1_790_000_000 + number, 100 + number, 0)
        dumps.spooled(node.spool, id, containerID=f"{number:064x}")
    node.start("--no-kubernetes", "--no-core-pattern")
    waiting.until("an empty spool", lambda: not list(node.spool.iterdir()), 30)
    assert node.crashes() == 12
    assert len(node.stored()) < 12
    assert "coredumpd_agent_folded_total" in node.get("/metrics")[1]
