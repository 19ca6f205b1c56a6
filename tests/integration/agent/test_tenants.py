"""What namespaces and pods say, from Kubernetes to the handler's snapshot."""

from __future__ import annotations

import json

import pytest
from support import dumps, keys, waiting
from support.kube import podspecs

from coredumpd.formats import names, quota_notice


def namespace(kube, name, uid=None, **annotations):
    kube.objects[f"/api/v1/namespaces/{name}"] = podspecs.namespace(name, uid, **annotations)


def pod(kube, namespace, name, uid=None, **annotations):
    put(kube, podspecs.pod(namespace, name, uid, **annotations))


def put(kube, document):
    namespace, name = (document["metadata"][field] for field in ("namespace", "name"))
    kube.objects[f"/api/v1/pods/{namespace}.{name}"] = document
    kube.objects[f"/api/v1/namespaces/{namespace}/pods/{name}"] = document


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
    del kube.objects["/api/v1/pods/default.secret"]
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
    rule = {"capture": "disabled"}.items()
    until(node, "the rule", lambda now: rule <= now["pods"].get("uid-web", {}).items())
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
    namespace(kube, "other")
    start(node, kube)
    until(node, "the namespace", lambda now: "default" in now["namespaces"])
    dumps.spooled(node.spool, "app-1", namespaceUID="ns-default")
    seen = {"namespace": "other", "namespaceUID": "ns-other"}
    dumps.spooled(node.spool, "app-2", containerID="d" * 64, **seen)
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


def test_a_pod_that_claims_a_victims_uid_changes_nothing_and_removes_no_dump(node, kube):
    """As `attacks.md` has it, and with every further field that a tenant may write."""
    namespace(kube, "victim", encrypt_to="coredump-recipients")
    namespace(kube, "evil")
    pod(kube, "victim", "web", "1234-5678", max_size="1Gi")
    put(kube, podspecs.mirror("hash", "kube-system", "etcd-node1", max_size="2Gi"))
    namespace(kube, "kube-system")
    start(node, kube)
    until(node, "both pods", lambda now: len(now["pods"]) > 1)
    before = snapshot(node)["pods"]
    dumps.spooled(node.spool, "app-1", namespace="victim")  # it waits for its ConfigMap
    for number, claimed in enumerate(["1234-5678", "hash", "uid-of-another-node"]):
        evil = podspecs.mirror(claimed, "evil", f"evil-{number}", capture="disabled")
        put(kube, evil)
    until(node, "the claims", lambda now: len(now["identities"]) >= 9)
    now = snapshot(node)["pods"]
    assert {key: now[key] for key in before} == before
    waiting.until("a try", lambda: "app-1 not shipped" in node.logged(), 30)
    assert (node.spool / "app-1").exists()
    assert "1234-5678" not in {key for key in now if now[key]["capture"] == "disabled"}
    assert "coredumpd_agent_skipped_total{" not in node.get("/metrics")[1]


UNNAMED = {"namespace": None, "podName": None, "container": None}


@pytest.mark.parametrize(
    "rule", [{"capture": "disabled"}, {"encrypt_to": "coredump-recipients"}], ids=str
)
def test_a_crash_that_nobody_can_name_stays_here_while_a_namespace_has_such_a_rule(
    node, kube, rule
):
    namespace(kube, "default", **rule)
    namespace(kube, "other")
    node.settings["unnamedPatience"] = "1s"
    node.settings["keptMaxEntries"] = 2
    start(node, kube)
    until(node, "the rule", lambda now: now["namespaces"] or now["encryptTo"])
    for number in range(3):
        dumps.spooled(node.spool, f"app-{number}", containerID=f"{number:064x}", **UNNAMED)
    seen = {"namespace": "other", "namespaceUID": "ns-other"}
    dumps.spooled(node.spool, "app-9", containerID="d" * 64, **seen)
    waiting.until("the other dump", lambda: len(node.stored()) == 1, 30)
    reason = 'coredumpd_agent_skipped_total{reason="unattributed"} 1.0'
    waiting.until("the bound", lambda: reason in node.get("/metrics")[1], 30)
    assert [key.partition("/")[0] for key in node.stored()] == ["other"]
    assert len(list(node.spool.iterdir())) == 2
    status, text = node.get("/healthz")
    assert "2 dumps stay on the node" in text, (status, text)
    assert "CoreDumpsWithheld" in {event["reason"] for event in kube.created("events")}


def test_a_crash_that_nobody_can_name_goes_to_the_admins_while_nobody_has_such_a_rule(node, kube):
    namespace(kube, "default", max_size="1Gi")
    node.settings["unnamedPatience"] = "1s"
    start(node, kube)
    pod(kube, "default", "web", "1234-5678")  # without a status yet
    until(node, "the namespace", lambda now: "default" in now["namespaces"])
    dumps.spooled(node.spool, "app-1", **UNNAMED)
    assert [key.partition("/")[0] for key in node.wait_stored(1)] == ["_host"]


@pytest.mark.parametrize("named", [True, False], ids=["named", "known by its cgroup"])
def test_a_dump_of_a_pod_that_lived_while_the_api_was_away_stays_here(node, kube, named):
    """Nobody can say any more whether it had disabled captures for itself."""
    namespace(kube, "default")
    node.settings["unnamedPatience"] = "1s"
    start(node, kube)
    until(node, "the namespaces", lambda now: now["encryptTo"] is not None)
    kube.stop()
    dumps.spooled(node.spool, "app-1", **{} if named else UNNAMED)
    waiting.until("a try", lambda: "app-1 not shipped" in node.logged(), 30)
    kube.start()
    waiting.until("the word", lambda: "was never seen here" in node.logged(), 60)
    assert "1 dumps stay on the node" in node.get("/healthz")[1]
    assert node.stored() == []


def test_a_pods_own_word_counts_though_no_snapshot_has_it(node, kube):
    """The agent was away when it came; its first list of pods comes after its first try."""
    namespace(kube, "default")
    start(node, kube)
    until(node, "the namespaces", lambda now: now["encryptTo"] is not None)
    node.stop()
    hidden = podspecs.pod("default", "web", "1234-5678", capture="disabled")
    kube.objects["/api/v1/namespaces/default/pods/web"] = hidden  # in no list
    dumps.spooled(node.spool, "app-1")
    start(node, kube)
    waiting.until("it to be removed", lambda: not list(node.spool.iterdir()), 30)
    assert node.stored() == []
    assert 'coredumpd_agent_skipped_total{reason="policy"} 1.0' in node.get("/metrics")[1]


def test_a_pod_with_more_labels_than_a_record_holds_is_shipped_with_some_of_them(node, kube):
    namespace(kube, "default")
    document = podspecs.pod("default", "web", "1234-5678")
    document["metadata"]["labels"] = {f"label-{n:04}": "x" * 63 for n in range(2500)}
    put(kube, document)
    start(node, kube)
    dumps.spooled(node.spool, "app-1")
    (key,) = node.wait_stored(1)
    record = node.record(key)
    assert len(record["podLabels"]) + record["podLabelsCut"] == 2500


def test_a_record_of_another_tenants_pod_is_set_aside_and_counted(node, kube):
    """As a handler that was taken over could write it."""
    namespace(kube, "default")
    namespace(kube, "victim")
    pod(kube, "default", "web", "1234-5678")
    start(node, kube)
    until(node, "the pod", lambda now: now["identities"].get("1234-5678", {}).get("namespaceUID"))
    dumps.spooled(node.spool, "app-1", namespace="victim")
    waiting.until("it to be set aside", (node.spool / "app-1.bad").exists, 30, 0.05)
    assert node.stored() == []
    assert "coredumpd_agent_set_aside_total 1.0" in node.get("/metrics")[1]


def test_a_record_that_lies_consistently_is_set_aside_by_what_its_handler_knew_first(node, kube):
    """Every value in it is a living victim's; only the entry's attribute is the crashed pod's."""
    namespace(kube, "default")
    pod(kube, "default", "web", "1234-5678")
    start(node, kube)
    until(node, "the pod", lambda now: now["identities"].get("1234-5678", {}).get("namespaceUID"))
    own = {"namespace": "shop", "podName": "own-0", "podUID": "5678-1234"}
    dumps.spooled(node.spool, "app-1", true_owner=own)
    waiting.until("it to be set aside", (node.spool / "app-1.bad").exists, 30, 0.05)
    assert node.stored() == []
    assert "but the crash was of shop/own-0" in node.logged()


@pytest.mark.parametrize("rule", [{}, {"encrypt_to": "coredump-recipients"}], ids=str)
def test_a_dump_of_a_former_namespace_goes_to_nobody(node, kube, rule):
    """Its successor has other rules, and keys of its own."""
    namespace(kube, "default", "ns-old", encrypt_to="coredump-recipients")
    pod(kube, "default", "web", "1234-5678")
    start(node, kube)
    until(node, "the pod", lambda now: now["identities"].get("1234-5678", {}).get("namespaceUID"))
    dumps.spooled(node.spool, "app-1")
    waiting.until("a try", lambda: "app-1 not shipped" in node.logged(), 30)
    for path in [path for path in kube.objects if path.endswith("web")]:
        del kube.objects[path]
    namespace(kube, "default", "ns-new", **rule)
    keys_ = "/api/v1/namespaces/default/configmaps/coredump-recipients"
    kube.objects[keys_] = {"metadata": {}, "data": {"recipients": keys.age().recipient}}
    waiting.until("the spool to be empty", lambda: not list(node.spool.iterdir()), 60)
    assert node.stored() == []


def test_annotations_as_long_as_a_tenant_likes_leave_the_policy_whole(node, kube):
    for number in range(40):
        namespace(kube, f"loud-{number}", encrypt_to="x" * 250_000, max_size="9" * 1000)
    namespace(kube, "default", capture="disabled")
    start(node, kube)
    until(node, "the rules", lambda now: "default" in now["namespaces"])
    now = snapshot(node)
    assert now["namespaces"]["default"]["capture"] == "disabled"
    assert now["encryptTo"] == {f"loud-{number}": "" for number in range(40)}
    assert (node.host_dir / "policy.json").stat().st_size < 100_000
