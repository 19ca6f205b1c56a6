"""Taking the installation away, and putting it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e import conftest
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.node import corepattern
from tests.support.waiting import until


def test_deleting_the_installation_restores_core_pattern_and_blocks_no_namespace(
    target: Target, installation: Path, admin: Kubectl, core_pattern_before: bytes
) -> None:
    if target.own is None:
        pytest.skip("the nodes of a cluster that is not ours are not this machine")
    pattern = corepattern.SYSCTLS[0]
    assert pattern.read_bytes().startswith(b"|" + os.fsencode(target.directory))
    try:
        admin("delete", "-f", str(installation), "--wait=true", "--timeout=120s")
        until(
            "core_pattern to be restored", lambda: pattern.read_bytes() == core_pattern_before, 30
        )
        assert not list((target.directory / "host").glob("versions/*"))
    finally:
        target.provide_volume()
        conftest.apply(admin, installation)
    ours = b"|" + os.fsencode(target.directory)
    until("core_pattern to be ours again", lambda: pattern.read_bytes().startswith(ours), 30)
