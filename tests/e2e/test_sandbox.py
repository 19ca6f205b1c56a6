"""A crash in a real pod's sandbox, by containerd's own state file."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT_NAMESPACE
from tests.e2e.support import crashing_pods
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.waiting import until

POD = "sandboxed"


def test_a_crash_of_a_pods_sandbox_is_its_owners_to_see(
    target: Target, installation: Path, tenant: Kubectl
) -> None:
    if target.own is None:
        pytest.skip("the node's processes are not ours to crash")
    uid = crashing_pods.crash(tenant, TENANT_NAMESPACE, POD, {"app": ["/bin/sleep", "3600"]})
    pod = tenant.json("get", "pod", POD, "-n", TENANT_NAMESPACE)
    app = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    os.kill(until("the pause container", lambda: sleeper(uid, app), 30), signal.SIGSEGV)
    words = ("get", "coredumps", "-n", TENANT_NAMESPACE)
    selector = ("-l", f"coredump.fujitsu.com/pod={POD},coredump.fujitsu.com/container=POD")
    (dump,) = until("its dump", lambda: tenant.json(*words, *selector)["items"], 60)
    status = dump["status"]
    assert (status["podUID"], status["process"]["comm"]) == (uid, "sleep")
    assert status["capture"]["attribution"] == "api"
    event = until("its Event", lambda: events(tenant), 60)[0]
    assert "fieldPath" not in event["involvedObject"]
    crashing_pods.delete(tenant, TENANT_NAMESPACE, POD)


def sleeper(uid: str, app: str) -> int | None:
    """A process of the pod that is not in the container `app`, and not PID 1 of its own."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            cgroup = (directory / "cgroup").read_text()
            comm = (directory / "comm").read_text().strip()
            if uid in cgroup and app not in cgroup and comm == "sleep":
                return int(directory.name)
    return None


def events(tenant: Kubectl) -> list[dict[str, dict[str, object]]]:
    found = tenant.json("get", "events", "-n", TENANT_NAMESPACE)["items"]
    return [
        event
        for event in found
        if (event["involvedObject"]["name"], event["reason"]) == (POD, "CoreDumped")
    ]
