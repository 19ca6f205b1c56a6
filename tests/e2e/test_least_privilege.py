"""What the agent's two containers have on a real node, and what its account asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT_NAMESPACE
from tests.e2e.support import audited, crashing_pods
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.waiting import until

GRANTED = {
    *(("pods", verb) for verb in ("get", "list", "watch")),
    *(("namespaces", verb) for verb in ("get", "list", "watch")),
    *(("configmaps", verb) for verb in ("get", "list", "watch")),
    *(("events", verb) for verb in ("create", "patch")),
    ("daemonsets", "get"),
}


def process(words: bytes, directory: Path) -> Path:
    """The /proc directory of the one process of our cluster with `words` in its command line."""
    here = [
        place
        for place in Path("/proc").glob("[0-9]*")
        if words in read(place / "cmdline") and str(directory) in read(place / "mounts").decode()
    ]
    # A onefile executable runs twice: the youngest is ours.
    return max(here, key=lambda place: int(place.name))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


@pytest.fixture
def own(target: Target, installation: Path) -> Path:
    if target.own is None:
        pytest.skip("the nodes of a cluster that is not ours are not this machine")
    return target.directory


def test_the_guard_has_no_network_and_no_token(own: Path) -> None:
    guard = process(b"agent\0guard\0", own)
    interfaces = (guard / "net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert "/run/secrets/kubernetes.io" not in (guard / "mounts").read_text()


def test_the_shipper_has_no_capability_and_sees_no_handler(own: Path) -> None:
    shipper = process(b"agent\0ship\0", own)
    status = (shipper / "status").read_text()
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert "Seccomp:\t2" in status
    host_dir = own / "host"
    mounts = {
        place.removeprefix(f"{host_dir}/"): options.split(",")[0]
        for _, place, _, options, *_ in map(
            str.split, (shipper / "mounts").read_text().splitlines()
        )
        if place.startswith(str(host_dir))
    }
    assert mounts == {"spool": "rw", "shipper": "rw", "guard": "ro"}
    root = (shipper / "mounts").read_text().split("\n", 1)[0].split()
    assert (root[1], root[3].split(",")[0]) == ("/", "ro")


def test_the_account_asks_for_no_more_than_it_was_granted(
    own: Path, target: Target, tenant: Kubectl
) -> None:
    crashing_pods.crash(
        tenant, TENANT_NAMESPACE, "least", {"app": ["/crash/crasher", "abort", "1"]}
    )
    try:
        until(
            "the Event on the pod",
            lambda: "CoreDumped" in tenant("get", "events", "-n", TENANT_NAMESPACE),
            60,
        )
    finally:
        crashing_pods.delete(tenant, TENANT_NAMESPACE, "least")
    made = {(one.what, one.verb) for one in asked(own)}
    assert made <= GRANTED
    assert {("pods", "watch"), ("namespaces", "watch")} <= made
    events = [one.uri for one in asked(own) if one.what == "events"]  # on the Node alone
    assert [uri for uri in events if not uri.startswith("/api/v1/namespaces/default/")] == []
    assert [one for one in asked(own) if one.code == 403] == []
    everywhere = [one.uri for one in asked(own) if one.uri.startswith("/api/v1/pods")]
    assert everywhere
    assert [uri for uri in everywhere if "fieldSelector=spec.nodeName" not in uri] == []


def asked(directory: Path) -> list[audited.Request]:
    return audited.requests(directory)
