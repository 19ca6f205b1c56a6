"""The kubelet's root cgroup: what the agent's own cgroup says, or the strictest there is."""

from __future__ import annotations

import pytest

from coredumpd.agent.node import cgroup_root
from coredumpd.settings import sections

POD = f"pod4a7f1c2e-0c5d-4b0e-9a6b-0123456789ab/{'ab' * 32}"


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (f"0::/kubepods/burstable/{POD}\n", "/"),
        (f"0::/nodes/a/kubepods/{POD}\n", "/nodes/a"),
        (f"9:name=systemd:/a/kubepods/{POD}\n4:memory:/\n0::/a/kubepods/{POD}\n", "/a"),
        (f"9:name=systemd:/a/kubepods/{POD}\n0::/b/kubepods/{POD}\n", "/"),
        ("0::/system.slice/coredumpd.service\n", "/"),
        ("", "/"),
        ("garbage", "/"),
    ],
)
def test_the_root_is_the_one_that_all_hierarchies_agree_upon(text: str, root: str) -> None:
    assert cgroup_root.learned(text) == root


@pytest.mark.parametrize(("above", "warned"), [("", True), ("/kubepods/podabc", False)])
def test_an_agent_outside_of_kubepods_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, above: str, warned: bool
) -> None:
    monkeypatch.setattr(cgroup_root, "_own_cgroup", lambda: f"0::{above}/{'ab' * 32}\n")
    assert cgroup_root.settle(sections.PolicySettings()).cgroupRoot == "/"
    assert ("below no kubepods" in caplog.text) == warned


def test_a_setting_is_not_learned_over() -> None:
    settings = sections.PolicySettings(cgroupRoot="/mine")
    assert cgroup_root.settle(settings) is settings


def test_an_agent_in_no_pod_takes_the_strictest_root() -> None:
    assert cgroup_root.settle(sections.PolicySettings()).cgroupRoot == "/"
