from __future__ import annotations

from pathlib import Path

from coredumpd.agent.tenants import policy_file
from coredumpd.formats import policy
from coredumpd.settings import file, sections


def test_the_handler_reads_what_the_agent_writes(tmp_path: Path) -> None:
    given = {"hostCrashes": "store", "maxSize": "2Gi", "captureTimeout": "1m"}
    chosen = file.check({"policy": given}).policy
    policy_file.write(tmp_path, chosen, "node1")
    path = tmp_path / "policy.json"
    assert path.stat().st_mode & 0o777 == 0o600
    read = policy.load(str(path))
    assert (read.hostCrashes, read.maxSize, read.captureTimeout) == ("store", 2 * 1024**3, 60.0)
    assert read.node == "node1"
    assert list(read.runtimeStateDirs) == list(chosen.runtimeStateDirs)


def test_what_tenants_said_stands_until_kubernetes_has_been_asked_again(tmp_path: Path) -> None:
    known = policy.Tenants({"team-a": {"capture": "disabled"}}, {"uid": {"maxSize": 7}})
    policy_file.write(tmp_path, sections.PolicySettings(), "node1", known)
    policy_file.write(tmp_path, sections.PolicySettings(maxSize=5), "node1")
    read = policy.load(str(tmp_path / "policy.json"))
    assert (read.maxSize, read.namespaces, read.pods) == (5, known.namespaces, known.pods)
    policy_file.write(tmp_path, sections.PolicySettings(), "node1", policy.Tenants())
    assert policy_file.read_tenants(tmp_path) == policy.Tenants()


def test_a_snapshot_that_says_so_already_is_left_alone(tmp_path: Path) -> None:
    policy_file.write(tmp_path, sections.PolicySettings(), "node1")
    before = (tmp_path / "policy.json").stat().st_ino
    policy_file.write(tmp_path, sections.PolicySettings(), "node1")
    assert (tmp_path / "policy.json").stat().st_ino == before


def test_who_wants_sealing_stands_and_never_asked_is_not_nobody(tmp_path: Path) -> None:
    chosen = sections.PolicySettings()
    policy_file.write(tmp_path, chosen, "node1")
    assert policy_file.read_tenants(tmp_path).encryptTo is None
    policy_file.write(tmp_path, chosen, "node1", policy.Tenants(encryptTo={"team-a": "keys"}))
    policy_file.write(tmp_path, chosen, "node1")
    assert policy_file.read_tenants(tmp_path).encryptTo == {"team-a": "keys"}
    policy_file.write(tmp_path, chosen, "node1", policy.Tenants(encryptTo={}))
    assert policy_file.read_tenants(tmp_path).encryptTo == {}
    policy.load(str(tmp_path / "policy.json"))
