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


def test_over_its_quota_a_namespace_keeps_what_fits_and_is_told(looping: Kubectl) -> None:
    whole = [status for status in dumps(looping) if status["core"]["size"]]
    newest = max(whole, key=lambda status: str(status["time"]))
    quota = 2 * max(stored_bytes(status) for status in whole)
    annotation = f"coredump.fujitsu.com/quota={quota}"
    looping("annotate", "namespace", NAMESPACE, annotation, "--overwrite")
    until(
        "it to be within its quota",
        lambda: sum(map(stored_bytes, dumps(looping))) <= quota,
        _PASSES_S,
    )
    assert newest["time"] in [status["time"] for status in dumps(looping)]
    until("the Event", lambda: "CoreDumpQuota" in reasons(looping), 30)


def stored_bytes(status: dict[str, Any]) -> int:
    size: int = status["core"]["storedSize"]
    return size
