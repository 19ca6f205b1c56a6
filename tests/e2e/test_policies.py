"""What the policies do with real pods: crash loops, quotas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import crashing_pods
from tests.e2e.support.kubectl import Kubectl
from tests.support.waiting import until

NAMESPACE, POD, CRASHES = "looping", "loop", 12
_PASSES_S = 180  # two passes of the collector, one a minute
_LOOP = f"n=0; while [ $n -lt {CRASHES} ]; do n=$((n+1)); /crash/crasher abort; done; sleep 3600"


@pytest.fixture(scope="module")
def looping(installation: Path, admin: Kubectl) -> Iterator[Kubectl]:
    """A namespace with a quota of almost nothing, and a pod that crashed often."""
    admin("create", "namespace", NAMESPACE)
    admin("annotate", "namespace", NAMESPACE, "coredump.fujitsu.com/quota=1Gi")
    crashing_pods.crash(admin, NAMESPACE, POD, {"app": ["/bin/sh", "-c", _LOOP]})
    yield admin
    admin("delete", "namespace", NAMESPACE, "--wait=false")


def dumps(admin: Kubectl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.json("get", "coredumps", "-n", NAMESPACE)["items"]
    return [item["status"] for item in found]


def counts(admin: Kubectl) -> list[int]:
    return sorted(status.get("crashLoop", {}).get("count", 1) for status in dumps(admin))


def reasons(admin: Kubectl) -> set[str]:
    found = admin.json("get", "events", "-n", NAMESPACE)["items"]
    return {item["reason"] for item in found if item["involvedObject"]["name"] == POD}


def test_of_a_crash_loop_two_and_three_keep_their_core_and_one_record_counts(
    looping: Kubectl,
) -> None:
    expected = [1, 1, 1, 1, 1, CRASHES - 5]
    until("the loop to be folded", lambda: counts(looping) == expected, _PASSES_S)
    sizes = sorted(status["core"]["size"] for status in dumps(looping))
    assert sizes[0] == 0
    assert all(sizes[1:])


def test_over_its_quota_a_namespace_keeps_the_newest_and_is_told(looping: Kubectl) -> None:
    looping("annotate", "namespace", NAMESPACE, "coredump.fujitsu.com/quota=1", "--overwrite")
    until("all but the newest to go", lambda: len(dumps(looping)) == 1, _PASSES_S)
    until("the Event", lambda: "CoreDumpQuota" in reasons(looping), 30)
