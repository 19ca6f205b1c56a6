"""The installation as a whole: the seed's test script."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import NAMESPACE
from tests.e2e.support.images import CRASHERS
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import ROOT


def test_the_seeds_test_script_passes(installation: Path, admin: Kubectl) -> None:
    environment = {
        **admin.environment(),
        "RUN_TEST_IMAGE": CRASHERS.removeprefix("docker.io/"),
        "RUN_TEST_PULL_POLICY": "IfNotPresent",
    }
    script = ROOT / "tests/run-test.sh"
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all good" in done.stdout


def test_the_installation_is_not_warned_about_its_own_pods(
    installation: Path, admin: Kubectl
) -> None:
    found = admin.json("get", "events", "-n", NAMESPACE, "--field-selector", "type=Warning")
    warnings = [item["message"] for item in found["items"] if item["reason"].startswith("CoreDump")]
    assert warnings == []
