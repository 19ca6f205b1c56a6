"""Ten minutes of kube-controller-manager with our group, and nothing to complain about.

It stands behind the tests that crash and download, which are part of the ten minutes, and before
those that take servers away (test_two_servers, test_uninstall), about which it may complain.
"""

from __future__ import annotations

import os
import secrets
import time

import pytest

from tests.e2e.conftest import Installed
from tests.e2e.support import controllers, coredump_endpoints
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target

SKIP = "COREDUMPD_E2E_NO_TEN_MINUTES"
_LONG_S = 600.0
_ROUND_S = 20.0
_COUNTED = "QuotaMonitor created object count evaluator for coredumpendpoints.coredump.fujitsu.com"


def test_ten_minutes_of_kube_controller_manager_end_without_a_complaint(
    target: Target, admin: Kubectl, installed: Installed
) -> None:
    if target.own is None:
        pytest.skip("the controllers' log of a cluster that is not ours is not ours to read")
    if os.environ.get(SKIP):
        pytest.skip(f"{SKIP} is set: nobody has watched {controllers.NAME} for ten minutes")
    while time.monotonic() < installed.at_s + _LONG_S:
        began = time.monotonic()
        come_and_go(admin)
        time.sleep(max(0.0, _ROUND_S - (time.monotonic() - began)))
    target.own.check(controllers.NAME)
    log = target.own.log(controllers.NAME)
    assert _COUNTED in log  # it does watch us
    assert not controllers.complaints(log[installed.controllers_log_chars :])


def come_and_go(admin: Kubectl) -> None:
    """A namespace with a quota and an endpoint, deleted as a whole: it goes, and soon."""
    name = f"round-{secrets.token_hex(3)}"
    admin("create", "namespace", name)
    count = "count/coredumpendpoints.coredump.fujitsu.com"
    admin("create", "quota", "doors", f"--hard={count}=5", "-n", name)
    coredump_endpoints.create(admin, name, "one", "some-uid")
    admin("delete", "namespace", name, "--wait=true", "--timeout=60s")
