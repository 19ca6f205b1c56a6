from __future__ import annotations

from pathlib import Path

from coredumpd import settings
from coredumpd.agent import policyfile
from coredumpd.handler import policy


def test_the_handler_reads_what_the_agent_writes(tmp_path: Path) -> None:
    given = {"hostCrashes": "store", "maxSize": "2Gi", "captureTimeout": "1m"}
    chosen = settings.build(settings.PolicySettings, given, "policy")
    policyfile.write(tmp_path, chosen, "node1")
    path = tmp_path / "policy.json"
    assert path.stat().st_mode & 0o777 == 0o600
    read = policy.load(str(path))
    assert (read.hostCrashes, read.maxSize, read.captureTimeout) == ("store", 2 * 1024**3, 60.0)
    assert read.node == "node1"
    assert list(read.runtimeStateDirs) == list(chosen.runtimeStateDirs)


def test_what_tenants_said_stands_until_kubernetes_has_been_asked_again(tmp_path: Path) -> None:
    known = policyfile.Tenants({"team-a": {"capture": "disabled"}}, {"uid": {"maxSize": 7}})
    policyfile.write(tmp_path, settings.PolicySettings(), "node1", known)
    policyfile.write(tmp_path, settings.PolicySettings(maxSize=5), "node1")
    read = policy.load(str(tmp_path / "policy.json"))
    assert (read.maxSize, read.namespaces, read.pods) == (5, known.namespaces, known.pods)
    policyfile.write(tmp_path, settings.PolicySettings(), "node1", policyfile.Tenants())
    assert policyfile.read_tenants(tmp_path) == policyfile.Tenants()


def test_a_snapshot_that_says_so_already_is_left_alone(tmp_path: Path) -> None:
    policyfile.write(tmp_path, settings.PolicySettings(), "node1")
    before = (tmp_path / "policy.json").stat().st_ino
    policyfile.write(tmp_path, settings.PolicySettings(), "node1")
    assert (tmp_path / "policy.json").stat().st_ino == before


def test_who_wants_sealing_stands_and_never_asked_is_not_nobody(tmp_path: Path) -> None:
    chosen = settings.PolicySettings()
    policyfile.write(tmp_path, chosen, "node1")
    assert policyfile.read_tenants(tmp_path).encryptTo is None
    policyfile.write(tmp_path, chosen, "node1", policyfile.Tenants(encryptTo={"team-a": "keys"}))
    policyfile.write(tmp_path, chosen, "node1")
    assert policyfile.read_tenants(tmp_path).encryptTo == {"team-a": "keys"}
    policyfile.write(tmp_path, chosen, "node1", policyfile.Tenants(encryptTo={}))
    assert policyfile.read_tenants(tmp_path).encryptTo == {}
    policy.load(str(tmp_path / "policy.json"))
