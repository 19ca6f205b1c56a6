from __future__ import annotations

import pytest

from coredumpd.agent.node.handlers_cgroup import plan
from coredumpd.settings import file

BOUNDS = plan.Limits(50, 3 << 30)
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"
V1 = (
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n"
    "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
    "cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n"
)
HYBRID = V1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"


def places(mounts: str, **unified: str) -> dict[str, str]:
    by_place = {f"/sys/fs/cgroup{name and '/' + name}": text for name, text in unified.items()}
    planned = plan.cgroups("own", mounts, by_place, BOUNDS)
    return {controller: cgroup.directory for controller, cgroup in planned.items()}


def test_in_v2_both_controllers_have_one_cgroup():
    planned = plan.cgroups("own", V2, {"/sys/fs/cgroup": "cpuset cpu io memory pids"}, BOUNDS)
    assert planned == {
        "cpu": plan.Cgroup("cpu", "/sys/fs/cgroup/own", {"cpu.weight": "50"}, "/sys/fs/cgroup"),
        "memory": plan.Cgroup(
            "memory",
            "/sys/fs/cgroup/own",
            {"memory.max": str(3 << 30), "memory.oom.group": "0"},
            "/sys/fs/cgroup",
        ),
    }


def test_in_v1_each_controller_has_one_in_its_hierarchy():
    planned = plan.cgroups("own", "proc /proc proc rw 0 0\n" + V1, {}, BOUNDS)
    assert planned == {
        "cpu": plan.Cgroup("cpu", "/sys/fs/cgroup/cpu,cpuacct/own", {"cpu.shares": "512"}),
        "memory": plan.Cgroup(
            "memory", "/sys/fs/cgroup/memory/own", {"memory.limit_in_bytes": str(3 << 30)}
        ),
    }


@pytest.mark.parametrize(
    ("controllers", "memory"), [("", "memory"), ("cpuset pids", "memory"), ("memory", "memory")]
)
def test_in_a_hybrid_the_hierarchy_that_has_the_controller_counts(controllers, memory):
    mounts = HYBRID if controllers != "memory" else HYBRID.replace("relatime,memory", "relatime")
    planned = plan.cgroups("own", mounts, {"/sys/fs/cgroup/unified": controllers}, BOUNDS)
    place = "unified" if controllers == "memory" else memory
    assert planned["memory"].directory == f"/sys/fs/cgroup/{place}/own"
    assert planned["cpu"].directory == "/sys/fs/cgroup/cpu,cpuacct/own"


@pytest.mark.parametrize("mounts", ["", "\n", "cgroup\n", "tmpfs /sys/fs/cgroup tmpfs memory 0 0"])
def test_without_a_hierarchy_there_is_nothing_to_make(mounts):
    assert plan.cgroups("own", mounts, {}, BOUNDS) == {}


def test_the_smallest_weight_is_one_that_v1_takes():
    planned = plan.cgroups("own", V1, {}, plan.Limits(1, 1))
    assert int(planned["cpu"].values["cpu.shares"]) >= 2


def test_the_memory_is_enough_for_every_slot_and_for_every_handler_that_waits():
    settings = file.check(
        {
            "agent": {"corePipeLimit": 100, "handlerMemory": "48Mi"},
            "policy": {"captureSlots": 10},
        }
    )
    assert plan.limits(settings).memory == (10 * 48 + 100 * 8) << 20


def test_slots_that_no_handler_can_have_need_no_memory():
    settings = file.check({"agent": {"corePipeLimit": 2}, "policy": {"captureSlots": 1000}})
    assert plan.limits(settings).memory == (2 * 64 + 2 * 8) << 20


def test_two_installations_on_a_node_have_cgroups_of_their_own():
    assert plan.name("/var/lib/coredumpd") != plan.name("/var/lib/other")
