"""kubectl cannot tell our kinds from native ones: a session with every verb a person uses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT_NAMESPACE
from tests.e2e.support import crashing_pods
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import ROOT
from tests.e2e.support.transcript import Transcript
from tests.support.waiting import until

CREATE = (
    "sed 's/__NAMESPACE__/default/g; s/__NAME__/web-0/g; /^#/d; /^spec/,$d'"
    " tests/coredumpendpoint_template.yaml > web-0.yaml; cat web-0.yaml"
)


@pytest.mark.parametrize(
    "path", ["coredumpendpoints", "coredumpendpoints/missing", "coredumpendpoints?limit=x"]
)
def test_headers_that_kube_apiserver_adds_appear_once(tenant: Kubectl, path: str) -> None:
    url = f"/apis/coredump.fujitsu.com/v1alpha1/namespaces/{TENANT_NAMESPACE}/{path}"
    log = tenant.run("get", f"--raw={url}", "-v=9").stderr.decode()
    answer = log.partition("Response Headers:")[2]
    assert len(re.findall(r"Cache-Control: ", answer)) == 1, answer
    assert len(re.findall(r"Audit-Id: ", answer)) <= 1, answer  # kube-apiserver 1.20 adds none


def test_kubectl_works_on_endpoints_as_on_any_other_resource(
    tenant: Kubectl, admin: Kubectl, here: Path, request: pytest.FixtureRequest
) -> None:
    crashing_pods.crash(tenant, TENANT_NAMESPACE, "web-0", {"app": ["/crash/crasher", "segv"]})
    session = Transcript(tenant, here, admin)
    run = session.run
    session.say(
        "Recorded by `make e2e` on a real cluster, for a user with the role `edit` in the\n"
        "namespace `default`, where the pod `web-0` has crashed; `$ADMIN` is the administrator's"
        " kubeconfig."
    )
    session.say("### Discovery")
    until("kube-apiserver to have fetched our OpenAPI", lambda: _explains(tenant), 90)
    run("kubectl api-resources --api-group=coredump.fujitsu.com")
    assert "immutable" in run("kubectl explain coredumpendpoint.spec.podUID").lower()
    assert run("kubectl auth can-i get coredumpendpoints --subresource=dump") == "yes\n"
    assert "no" in run("kubectl auth can-i list coredumpendpoints -A", fails=True)
    assert "codeName" in run("kubectl explain coredump.status.signal")

    session.say("### Create and look")
    run(CREATE)
    run("kubectl create -f web-0.yaml --dry-run=server")
    assert "created" in run("kubectl create -f web-0.yaml --save-config")
    assert "AlreadyExists" in run("kubectl create -f web-0.yaml", fails=True)
    assert "unchanged" in run("kubectl apply -f web-0.yaml")
    if _waits_for_fields(tenant):
        run("kubectl wait --for=jsonpath='{.status.dumps}'=1 coredumpendpoint/web-0 --timeout=60s")
    else:
        until("the dump to be counted", lambda: _dumps(tenant) == "1", 60)
    assert "DUMPS" in run("kubectl get cde")
    run("kubectl get cde -o wide --show-labels")
    run("kubectl describe cde web-0")
    assert run("kubectl get cde web-0 -o jsonpath={.status.containers[0].name}") == "app"

    session.say(
        "### The inventory\n\nEvery stored dump is an object too; nothing has to be created."
    )
    assert "SIGSEGV" in run("kubectl get coredumps")
    assert "Forbidden" in run("kubectl get coredumps -A", fails=True)
    assert "SIGSEGV" in run('kubectl --kubeconfig="$ADMIN" get coredumps -A')
    assert "NODE" in run("kubectl get coredumps -o wide")
    label = "-l coredump.fujitsu.com/pod=web-0,coredump.fujitsu.com/signal=SIGSEGV"
    name = run(f"kubectl get coredumps {label} -o jsonpath={{.items[*].metadata.name}}")
    assert name.startswith("crasher-")
    assert name in run("kubectl get core --field-selector status.podName=web-0 -o name")
    run(f"kubectl describe core {name}")
    assert "podName: web-0" in run(f"kubectl get core {name} -o yaml | grep -E '^kind|podName'")
    assert '"SIGSEGV"' in run(f"kubectl get core {name} -o json | grep -A 7 '\"signal\": '")
    group = "/apis/coredump.fujitsu.com/v1alpha1/namespaces/default"
    run(f"kubectl get --raw={group}/coredumps/{name}/proxy | tar -tz")
    assert "NotFound" in run(f"kubectl get --raw={group}/coredumps/{name}/backtrace", fails=True)

    session.say("### Change")
    run("kubectl label cde web-0 team=a")
    run("kubectl annotate cde web-0 ticket=4711")
    patch = """kubectl patch cde web-0 --type=merge -p '{"metadata":{"labels":{"tier":"web"}}}'"""
    run(patch)
    remove = '[{"op":"remove","path":"/metadata/labels/tier"}]'
    run(f"kubectl patch cde web-0 --type=json -p '{remove}'")
    run("EDITOR='sed -i s/4711/4712/' kubectl edit cde web-0")
    assert "web-0" in run("kubectl get cde -l team=a")
    assert "No resources" in run("kubectl get cde -l team=b")
    assert "web-0" in run("kubectl get cde --field-selector metadata.name=web-0 -o name")
    assert "4712" in run("kubectl get cde web-0 -o yaml")
    spec = """'{"spec":{"podUID":"another"}}'"""
    assert "immutable" in run(f"kubectl patch cde web-0 --type=merge -p {spec}", fails=True)
    assert "server-side apply" in run("kubectl apply --server-side -f web-0.yaml", fails=True)

    session.say("### Watch\n\nThe label is written while the watch runs.")
    watched = run(
        "(sleep 2; kubectl label cde web-0 seen=yes >/dev/null) &"
        " timeout 5 kubectl get cde -w --output-watch-events",
        fails=True,  # timeout(1) says 124
    )
    assert re.search(r"ADDED .*\n(.*\n)*MODIFIED ", watched)

    session.say("### Delete")
    assert "deleted" in run("kubectl delete -f web-0.yaml")
    assert "NotFound" in run("kubectl get cde web-0", fails=True)
    watched = run(
        f"(sleep 2; kubectl delete coredump {name} >/dev/null) &"
        f" timeout 8 kubectl get coredumps {label} -w --output-watch-events",
        fails=True,
    )
    assert re.search(r"ADDED .*\nDELETED ", watched)
    assert "NotFound" in run(f"kubectl delete coredump {name}", fails=True)
    assert "No resources" in run(f"kubectl get coredumps {label}")
    crashing_pods.delete(tenant, TENANT_NAMESPACE, "web-0")
    if request.config.getoption("--update-walkthrough"):
        session.write_section(ROOT / "docs/api.md", "A kubectl session")


def _waits_for_fields(user: Kubectl) -> bool:
    """`kubectl wait --for=jsonpath` came with kubectl 1.23; Debian 12 has 1.20."""
    client = json.loads(user("version", "--client", "-o", "json"))["clientVersion"]
    return int(re.match(r"\d+", client["minor"])[0]) >= 23


def _dumps(user: Kubectl) -> str:
    return user("get", "coredumpendpoint", "web-0", "-o", "jsonpath={.status.dumps}")


def _explains(user: Kubectl) -> bool:
    return user.run("explain", "coredumpendpoint").returncode == 0
