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
