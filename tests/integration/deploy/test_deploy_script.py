"""deploy/deploy.sh: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from coredumpd.settings import file as conffile
from coredumpd.settings import sections

SCRIPT = Path(__file__).parents[3] / "deploy/deploy.sh"


def deploy(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def manifests(directory: Path) -> dict[tuple[str, str], dict]:
    documents = yaml.safe_load_all((directory / "coredumpd.yaml").read_text())
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


@pytest.fixture
def written(tmp_path: Path) -> dict[tuple[str, str], dict]:
    done = deploy("cores", "coreapi", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    return manifests(tmp_path / "out")


def test_the_api_service_trusts_the_authority_that_signed_the_servers_certificate(written):
    bundle = base64.b64decode(
        written["APIService", "v1alpha1.coredump.fujitsu.com"]["spec"]["caBundle"]
    )
    secret = written["Secret", "coredumpd-server-tls"]["data"]
    authority = x509.load_pem_x509_certificate(bundle)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["tls.crt"]))
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "coreapi.cores.svc" in names.get_values_for_type(x509.DNSName)


def test_the_service_the_api_service_and_the_namespace_are_as_asked(written):
    spec = written["APIService", "v1alpha1.coredump.fujitsu.com"]["spec"]
    assert spec["service"] == {"name": "coreapi", "namespace": "cores", "port": 443}
    assert (spec["groupPriorityMinimum"], spec["versionPriority"]) == (2000, 10)
    assert ("Service", "coreapi") in written
    labels = written["Namespace", "cores"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_configuration_is_one_the_executable_accepts(written, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(written["ConfigMap", "coredumpd"]["data"]["config.yaml"])
    settings = conffile.load(str(config))
    assert settings.agent.store == "https://coreapi.cores.svc:443"
    assert settings.server.store == "file:///var/lib/coredump-store"


def test_the_server_has_no_rights_on_its_node(written):
    pod = written["Deployment", "coredumpd-server"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "hostPID" not in pod
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_privilege_is_where_no_network_and_no_token_is(written):
    pod = written["DaemonSet", "coredumpd-agent"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    guard, shipper = pod["containers"]
    assert (guard["args"][:2], shipper["args"][:2]) == (["agent", "guard"], ["agent", "ship"])
    assert guard["securityContext"]["privileged"] is True
    assert guard["securityContext"]["readOnlyRootFilesystem"] is True
    assert "ports" not in guard
    assert "envFrom" not in guard
    assert shipper["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    secrets = {name for name, volume in volumes.items() if "projected" in volume}
    mounts = {
        container["name"]: {
            mount["mountPath"]: mount.get("readOnly", False)
            for mount in container["volumeMounts"]
            if mount["name"] in secrets or "hostPath" in volumes[mount["name"]]
        }
        for container in pod["containers"]
    }
    host_dir = "/var/lib/coredumpd"
    assert mounts["guard"] == {host_dir: False}
    assert mounts["shipper"] == {
        "/var/run/secrets/kubernetes.io/serviceaccount": True,
        f"{host_dir}/spool": False,
        f"{host_dir}/shipper": False,
        f"{host_dir}/guard": True,
    }
    for container in pod["containers"]:
        assert "memory" in container["resources"]["limits"]


# Each right of the shipper, and the request that needs it.
AGENT_RIGHTS = {
    ("pods", None, "get"): "attribution: the pod that the runtime names; uninstall: its own pod",
    ("pods", None, "list"): "tenants, attribution: the pods of its node",
    ("pods", None, "watch"): "tenants: the pods of its node",
    ("namespaces", None, "get"): "attribution: the namespace's uid; sealing: is it gone?",
    ("namespaces", None, "list"): "tenants",
    ("namespaces", None, "watch"): "tenants",
    ("configmaps", "coredump-recipients", "get"): "sealing: the tenant's keys",
    ("daemonsets", "coredumpd-agent", "get"): "uninstall: is it being deleted?",
    ("configmaps", "coredumpd-quota", "list"): "tenants: reached quotas",
    ("configmaps", "coredumpd-quota", "watch"): "tenants: reached quotas",
    ("/agent/v1/*", None, "get"): "uploads: has the server this dump?",
    ("/agent/v1/*", None, "update"): "uploads: the dump",
    ("/agent/v1/*", None, "create"): "Events on pods of its node",
}


def test_the_agent_has_the_rights_that_it_needs_and_no_other(written):
    granted = {
        (what, name, verb)
        for kind, role in (("ClusterRole", "coredumpd:agent"), ("Role", "coredumpd-agent"))
        for rule in written[kind, role]["rules"]
        for what in rule.get("resources", []) + rule.get("nonResourceURLs", [])
        for name in rule.get("resourceNames", [None])
        for verb in rule["verbs"]
    }
    assert granted == set(AGENT_RIGHTS)


EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}


def test_agents_write_events_on_their_nodes_alone_and_none_in_a_tenants_namespace(written):
    assert EVENTS not in written["ClusterRole", "coredumpd:agent"]["rules"]
    role = written["Role", "coredumpd:agent:node-events"]
    assert (role["metadata"]["namespace"], role["rules"]) == ("default", [EVENTS])
    assert EVENTS in written["ClusterRole", "coredumpd:server"]["rules"]


def test_agents_that_write_to_a_store_themselves_write_events_on_pods_too(tmp_path):
    assert deploy("--store", "pvc:dumps", "cores", "coreapi", tmp_path).returncode == 0
    rules = manifests(tmp_path)["ClusterRole", "coredumpd:agent"]["rules"]
    assert EVENTS in rules
    assert not [rule for rule in rules if "nonResourceURLs" in rule]


def test_the_default_store_is_a_claim_that_the_server_alone_mounts(written):
    claim = written["PersistentVolumeClaim", "coredumpd-store"]["spec"]
    assert claim["accessModes"] == ["ReadWriteOnce"]
    volumes = written["Deployment", "coredumpd-server"]["spec"]["template"]["spec"]["volumes"]
    mine = {"name": "store", "persistentVolumeClaim": {"claimName": "coredumpd-store"}}
    assert mine in volumes
    volumes = written["DaemonSet", "coredumpd-agent"]["spec"]["template"]["spec"]["volumes"]
    assert not [volume for volume in volumes if "persistentVolumeClaim" in volume]


def test_no_pod_can_fill_its_nodes_disk(written):
    for kind, name in (("Deployment", "coredumpd-server"), ("DaemonSet", "coredumpd-agent")):
        volumes = written[kind, name]["spec"]["template"]["spec"]["volumes"]
        for volume in volumes:
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], volume["name"]


def test_strangers_reach_the_agents_metrics_from_one_namespace_and_nothing_else(tmp_path):
    words = ("--metrics-namespace", "prometheus", "--api-ports", "16443")
    assert deploy(*words, "cores", "coreapi", tmp_path).returncode == 0
    written = manifests(tmp_path)
    agent = written["NetworkPolicy", "coredumpd-agent"]["spec"]
    (rule,) = agent["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    names = {"kubernetes.io/metadata.name": "prometheus"}
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": names}}]
    ports = [port["port"] for rule in agent["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 16443, "https"]
    server = written["NetworkPolicy", "coredumpd-server"]["spec"]
    assert server["ingress"] == [{"ports": [{"port": "https", "protocol": "TCP"}]}]
    assert [port["port"] for rule in server["egress"] for port in rule["ports"]] == [53, 53, 16443]
    for policy, (kind, name) in (
        (agent, ("DaemonSet", "coredumpd-agent")),
        (server, ("Deployment", "coredumpd-server")),
    ):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        labels = written[kind, name]["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("words", "anywhere"),
    [
        (["--store", "s3://dumps/prod"], {"coredumpd-agent", "coredumpd-server"}),
        (
            ["--store", "pvc:dumps", "--objects", "etcd://etcd:2379/coredumpd"],
            {"coredumpd-server"},
        ),
        (["--store", "pvc:dumps"], set()),
    ],
)
def test_who_speaks_to_a_bucket_or_an_etcd_may_leave_the_cluster(tmp_path, words, anywhere):
    assert deploy(*words, "cores", "coreapi", tmp_path).returncode == 0
    policies = {
        name: document["spec"]
        for (kind, name), document in manifests(tmp_path).items()
        if kind == "NetworkPolicy"
    }
    assert {name for name, policy in policies.items() if {} in policy["egress"]} == anywhere


def test_who_may_view_a_namespace_may_not_read_its_memory(written):
    label = "rbac.authorization.k8s.io/aggregate-to-view"
    granted = [
        resource
        for (kind, _), document in written.items()
        if kind == "ClusterRole" and label in document["metadata"].get("labels", {})
        for rule in document["rules"]
        for resource in rule["resources"]
    ]
    assert sorted(granted) == ["coredumpendpoints", "coredumps"]


def test_service_accounts_may_change_events_one_lease_and_one_config_map_only(written):
    for (kind, name), document in written.items():
        if kind in ("ClusterRole", "Role") and not document["metadata"].get("labels"):
            for rule in document["rules"]:
                if "nonResourceURLs" in rule:
                    assert (rule["nonResourceURLs"], name) == (["/agent/v1/*"], "coredumpd:agent")
                    continue
                assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"], name
                if not {"get", "list", "watch"}.issuperset(rule["verbs"]):
                    changed = (rule["resources"], rule.get("resourceNames"))
                    assert changed in (
                        (["events"], None),
                        (["leases"], None),
                        (["leases"], ["coredumpd-collector"]),
                        (["configmaps"], ["coredumpd-quota"]),
                    ), name


def test_running_it_again_keeps_the_authority_and_the_certificate(tmp_path):
    deploy("cores", "coreapi", tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "pki").iterdir()}
    yaml_before = (tmp_path / "coredumpd.yaml").read_bytes()
    assert deploy("cores", "coreapi", tmp_path).returncode == 0
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "pki").iterdir()}
    assert yaml_before == (tmp_path / "coredumpd.yaml").read_bytes()


def test_another_service_gets_a_certificate_of_its_own_from_the_same_authority(tmp_path):
    deploy("cores", "coreapi", tmp_path)
    authority, certificate = (
        (tmp_path / "pki" / name).read_bytes() for name in ("ca.crt", "tls.crt")
    )
    deploy("cores", "other", tmp_path)
    assert authority == (tmp_path / "pki/ca.crt").read_bytes()
    assert certificate != (tmp_path / "pki/tls.crt").read_bytes()


def test_keys_are_readable_by_their_owner_only(tmp_path):
    deploy("cores", "coreapi", tmp_path / "out")
    for path in ("out/pki/ca.key", "out/pki/tls.key", "out/coredumpd.yaml"):
        assert (tmp_path / path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("store", "volume"),
    [
        ("pvc:dumps", {"persistentVolumeClaim": {"claimName": "dumps"}}),
        (
            "nfs:nas.example:/export/dumps",
            {"nfs": {"server": "nas.example", "path": "/export/dumps"}},
        ),
        ("hostPath:/srv/dumps", {"hostPath": {"path": "/srv/dumps", "type": "DirectoryOrCreate"}}),
    ],
)
def test_agent_and_server_mount_the_same_store(tmp_path, store, volume):
    assert deploy("cores", "coreapi", tmp_path, COREDUMPD_STORE=store).returncode == 0
    written = manifests(tmp_path)
    for key in (("Deployment", "coredumpd-server"), ("DaemonSet", "coredumpd-agent")):
        volumes = written[key]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "store", **volume} in volumes


def test_objects_in_etcd_are_served_by_two_servers_of_which_one_always_stays(tmp_path):
    url = "etcd://etcd-0.etcd:2379,etcd-1.etcd:2379/coredumpd"
    words = (
        "--store",
        "pvc:dumps",
        "--objects",
        url,
        "--etcd-tls-secret",
        "etcd-client",
        "--etcd-user-secret",
        "etcd-user",
    )
    assert deploy(*words, "cores", "coreapi", tmp_path).returncode == 0
    written = manifests(tmp_path)
    deployment = written["Deployment", "coredumpd-server"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["type"] == "RollingUpdate"
    assert written["PodDisruptionBudget", "coredumpd-server"]["spec"]["minAvailable"] == 1
    config = yaml.safe_load(written["ConfigMap", "coredumpd"]["data"]["config.yaml"])
    assert config["server"]["objects"] == url
    mounted = {
        mount["mountPath"]
        for mount in deployment["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    files = [config["etcd"][name] for name in ("caFile", "certFile", "keyFile")]
    assert {os.path.dirname(file) for file in files} | {config["etcd"]["credentialsDir"]} <= mounted


def test_a_bucket_needs_no_volume_and_takes_its_credentials_from_a_secret(tmp_path):
    words = ("--store", "s3://dumps/prod", "--store-secret", "bucket")
    assert deploy(*words, "cores", "coreapi", tmp_path).returncode == 0
    written = manifests(tmp_path)
    for key in (("Deployment", "coredumpd-server"), ("DaemonSet", "coredumpd-agent")):
        pod = written[key]["spec"]["template"]["spec"]
        assert "store" not in {volume["name"] for volume in pod["volumes"]}
        assert pod["containers"][-1]["envFrom"] == [{"secretRef": {"name": "bucket"}}]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["cores", "coreapi"], "3 arguments are needed"),
        (["Cores", "coreapi", "out"], "NAMESPACE: 'Cores': must be a DNS label"),
        (["default", "coreapi", "out"], "NAMESPACE: 'default'"),
        (["cores", "1api", "out"], "SERVICE: '1api'"),
        (["--store", "s3:bucket", "cores", "coreapi", "out"], "--store: 's3:bucket': must be"),
        (["--store"], "--store needs a value"),
        (["--store-size", "big", "cores", "coreapi", "out"], "--store-size: 'big'"),
        (["--metrics-namespace", "A", "cores", "coreapi", "out"], "--metrics-namespace: 'A'"),
        (["--api-ports", "443-500", "cores", "coreapi", "out"], "--api-ports: '443-500'"),
        (["--objects", "etcd://user:pass@h/p", "cores", "coreapi", "out"], "--objects"),
        (["--store-secret", "A b", "cores", "coreapi", "out"], "--store-secret: 'A b'"),
        (["--kubernetes", "1.19", "cores", "coreapi", "out"], "--kubernetes: '1.19'"),
        (["--storage", "x", "cores", "coreapi", "out"], "--storage is not an option"),
        (["--host-dir", "/a/../b", "cores", "coreapi", "out"], "--host-dir: '/a/../b'"),
        (["--nodes", "pool in (a)", "cores", "coreapi", "out"], "--nodes: 'pool in (a)'"),
        (["--tolerations", "a:Never", "cores", "coreapi", "out"], "--tolerations: 'a:Never'"),
        (["--max-unavailable", "0", "cores", "coreapi", "out"], "--max-unavailable: '0'"),
        (["--runtime-state-dir", "run", "cores", "coreapi", "out"], "--runtime-state-dir: 'run'"),
        (["--image", "a\nb", "cores", "coreapi", "out"], "--image"),
    ],
)
def test_a_wrong_argument_is_named_with_its_rule_and_nothing_is_written(tmp_path, words, complaint):
    out = tmp_path / "out"
    done = deploy(*(out if word == "out" else word for word in words))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not out.exists()


def test_without_shared_storage_the_server_keeps_what_the_agents_send(tmp_path):
    done = deploy("--store", "server:dumps", "cores", "coreapi", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    written = manifests(tmp_path / "out")
    claim = {"name": "store", "persistentVolumeClaim": {"claimName": "dumps"}}
    pods = {
        kind: written[kind, name]["spec"]["template"]["spec"]
        for kind, name in (("Deployment", "coredumpd-server"), ("DaemonSet", "coredumpd-agent"))
    }
    assert claim in pods["Deployment"]["volumes"]
    assert "store" not in [volume["name"] for volume in pods["DaemonSet"]["volumes"]]
    data = written["ConfigMap", "coredumpd"]["data"]
    (tmp_path / "config.yaml").write_text(data["config.yaml"])
    settings = conffile.load(str(tmp_path / "config.yaml"))
    assert settings.agent.store == "https://coreapi.cores.svc:443"
    assert settings.server.uploadAccount == "system:serviceaccount:cores:coredumpd-agent"
    assert settings.upload.caFile == "/etc/coredumpd/config/ca.crt"
    x509.load_pem_x509_certificate(data["ca.crt"].encode())
    rules = written["ClusterRole", "coredumpd:agent"]["rules"]
    assert {"nonResourceURLs": ["/agent/v1/*"], "verbs": ["get", "update", "create"]} in rules


def test_a_store_of_one_server_does_not_go_with_two(tmp_path):
    words = ("--store", "server:dumps", "--objects", "etcd://10.0.0.1:2379/coredumpd")
    refused = deploy(*words, "cores", "coreapi", tmp_path / "out")
    assert refused.returncode == 2
    assert "one server" in refused.stderr


def test_the_agent_may_read_no_config_map_but_the_recipients(written):
    rules = written["ClusterRole", "coredumpd:agent"]["rules"]
    (rule,) = [rule for rule in rules if "configmaps" in rule.get("resources", [])]
    assert (rule["resourceNames"], rule["verbs"]) == (["coredump-recipients"], ["get"])
    assert not [rule for rule in rules if "secrets" in rule.get("resources", [])]


# The labels by which clouds tell their nodes without a kernel of their own, and a real one's.
VIRTUAL = [
    {"eks.amazonaws.com/compute-type": "fargate"},
    {"type": "virtual-kubelet"},
    {"node.kubernetes.io/instance-type": "eklet"},
    {"type": "kwok"},
]


def selects(daemon_set, labels):
    """Would the DaemonSet controller put a pod on a node with these labels?"""
    affinity = daemon_set["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    holds = {
        "In": lambda label, values: label in values,
        "NotIn": lambda label, values: label not in values,
        "Exists": lambda label, _: label is not None,
        "DoesNotExist": lambda label, _: label is None,
    }
    return all(
        holds[one["operator"]](labels.get(one["key"]), one.get("values"))
        for one in term["matchExpressions"]
    )


def test_virtual_nodes_have_no_agent_and_others_do(written):
    daemon_set = written["DaemonSet", "coredumpd-agent"]
    for labels in ({}, {"eks.amazonaws.com/compute-type": "ec2"}, {"type": "worker"}):
        assert selects(daemon_set, labels)
    for labels in VIRTUAL:
        assert not selects(daemon_set, labels)
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%"}
    assert daemon_set["spec"]["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_nodes_tolerations_and_the_pace_of_updates_are_settable(tmp_path):
    words = ["--nodes", "example.com/pool=apps,spot!=true,!edge,zone", "--max-unavailable", "3"]
    words += ["--tolerations", "dedicated=db:NoSchedule,gpu,a:NoExecute,b=1"]
    done = deploy(*words, "cores", "coreapi", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    daemon_set = manifests(tmp_path / "out")["DaemonSet", "coredumpd-agent"]
    good = {"example.com/pool": "apps", "zone": "a"}
    assert selects(daemon_set, good)
    for bad in ({"example.com/pool": "db"}, {"spot": "true"}, {"edge": ""}, {"zone": None}):
        assert not selects(daemon_set, good | bad)
    assert not any(selects(daemon_set, good | labels) for labels in VIRTUAL)
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 3}
    assert daemon_set["spec"]["template"]["spec"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists"},
        {"key": "a", "operator": "Exists", "effect": "NoExecute"},
        {"key": "b", "operator": "Equal", "value": "1"},
    ]


def test_a_runtimes_unusual_directories_come_before_the_usual_ones(tmp_path):
    words = ("--runtime-state-dir", "/data/containerd", "--runtime-state-dir", "/data/crio")
    done = deploy(*words, "cores", "coreapi", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    data = manifests(tmp_path / "out")["ConfigMap", "coredumpd"]["data"]
    (tmp_path / "config.yaml").write_text(data["config.yaml"])
    policy = conffile.load(str(tmp_path / "config.yaml")).policy
    usual = sections.PolicySettings().runtimeStateDirs
    assert policy.runtimeStateDirs == ("/data/containerd", "/data/crio", *usual)
