"""What stays free: by the setting, by the kubelet, by the disk's size."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from coredumpd.agent.kubelet import configuration, eviction, room
from coredumpd.agent.node import host_namespaces
from coredumpd.settings import file, sections

GIB = 1024**3
DISK = os.statvfs_result((4096, 4096, 100 * GIB // 4096, 0, 0, 10_000, 0, 0, 0, 255))
KUBELET = configuration.Thresholds(tuple(eviction.defaults()), "the usual")


def decide(**policy: object) -> room.Reserve:
    settings = file.check({"policy": policy})
    return room.decide(settings.policy, DISK, KUBELET)


def test_the_kubelet_decides_where_no_setting_does() -> None:
    reserve = decide()
    assert (reserve.size, reserve.inodes) == (15 * GIB, 1000)
    assert reserve.text == (
        "captures leave 15Gi of the spool's disk of 100Gi free, and 1000 of its 10000 inodes"
        " (the usual)"
    )


def test_a_setting_is_a_size_or_a_percentage_and_counts_instead() -> None:
    assert decide(spoolKeepFree="2Gi").size == 2 * GIB
    assert decide(spoolKeepFree=0).size == 0
    reserve = decide(spoolKeepFree="20%", spoolKeepFreeInodes="2.5%")
    assert (reserve.size, reserve.inodes) == (20 * GIB, 250)
    assert decide(spoolKeepFreeInodes=7).inodes == 7
    settled = reserve.settle(sections.PolicySettings(spoolKeepFree="20%"))
    assert (settled.spoolKeepFree, settled.spoolKeepFreeInodes) == (20 * GIB, 250)


def test_a_kubelet_that_never_evicts_still_leaves_a_gibibyte() -> None:
    none = configuration.Thresholds((), "kind's")
    reserve = room.decide(sections.PolicySettings(), DISK, none)
    assert (reserve.size, reserve.inodes) == (GIB, 0)


def test_a_node_is_asked_in_the_hosts_namespaces_and_without_them_in_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubelet.yaml"
    path.write_text("evictionHard: {nodefs.available: 30%}")
    path.chmod(0o644)
    settings = file.check({"agent": {"hostDir": str(tmp_path), "kubeletConfig": str(path)}})
    (tmp_path / "spool").mkdir()
    calls = []

    def call(function: object, *args: object) -> object:
        calls.append(args)
        raise PermissionError("not this time")

    monkeypatch.setattr(host_namespaces, "call", call)
    reserve = room.look(settings)
    disk = os.statvfs(tmp_path)
    assert reserve.size == max(GIB, int(disk.f_blocks * disk.f_frsize * 0.35))
    assert calls == [(tmp_path / "spool", str(path))]
    assert "cannot be seen as the host sees it: not this time" in reserve.problems[0]
    (tmp_path / "spool").rmdir()
    assert room.look(settings).size is None


async def _first(monitor: room.Monitor) -> sections.PolicySettings:
    async for policy in monitor.changes():
        return policy
    raise AssertionError


def test_what_changes_on_the_node_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "CHECK_EVERY_S", 0.01)
    (tmp_path / "spool").mkdir()
    path = tmp_path / "kubelet.yaml"
    path.write_text("evictionHard: {nodefs.available: 30%}")
    path.chmod(0o644)
    settings = file.check({"agent": {"hostDir": str(tmp_path), "kubeletConfig": str(path)}})
    monitor = room.Monitor(settings)
    before = monitor.reserve.size
    path.write_text("evictionHard: {nodefs.available: 40%}")
    policy = asyncio.run(asyncio.wait_for(_first(monitor), 30))
    assert before is not None
    assert isinstance(policy.spoolKeepFree, int)
    assert policy.spoolKeepFree > before
    assert monitor.reserve.size == policy.spoolKeepFree
