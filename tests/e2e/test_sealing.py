"""A tenant whose cores leave the node encrypted: with the rights that deploy.sh gives, no more."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT_NAMESPACE
from tests.e2e.support import crashing_pods, downloaded_cores
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import ROOT, Target
from tests.support import crashers, keys
from tests.support.waiting import until

PAIR = keys.age()
_ANNOTATION = "coredump.fujitsu.com/encrypt-to"


@pytest.fixture
def wanting(admin: Kubectl, tenant: Kubectl) -> Iterator[None]:
    """The tenant's namespace wants sealing, and its recipients are not there yet."""
    admin("annotate", "namespace", TENANT_NAMESPACE, f"{_ANNOTATION}=coredump-recipients")
    try:
        yield
    finally:
        admin("annotate", "namespace", TENANT_NAMESPACE, f"{_ANNOTATION}-")
        words = ("configmap", "coredump-recipients", "-n", TENANT_NAMESPACE)
        admin("delete", *words, "--ignore-not-found")


def test_a_tenant_gets_the_own_core_with_the_own_key_and_nobody_else_does(
    target: Target, admin: Kubectl, tenant: Kubectl, wanting: None, tmp_path: Path
) -> None:
    there = ("-n", TENANT_NAMESPACE)
    crashing_pods.crash(
        tenant, TENANT_NAMESPACE, "sealed", {"app": ["/crash/crasher", "abort", "1"]}
    )
    with contextlib.ExitStack() as stack:
        stack.callback(crashing_pods.delete, tenant, TENANT_NAMESPACE, "sealed")
        until(
            "the pod to be told that its recipients are missing",
            lambda: (
                "coredump-recipients" in tenant("get", "events", *there)
                and "CoreDumpPolicy" in tenant("get", "events", *there)
            ),
            60,
        )
        assert "sealed" not in tenant("get", "coredumps", *there, "-o", "name")
        (tmp_path / "recipients").write_text(PAIR.recipient + "\n")
        words = ("configmap", "coredump-recipients", f"--from-file={tmp_path}/recipients")
        tenant("create", *words, *there)
        selector = ("--field-selector", "status.podName=sealed")
        until("the dump", lambda: tenant("get", "coredumps", *there, *selector, "-o", "name"), 120)
        (tmp_path / "key").write_bytes(PAIR.identity)
        (tmp_path / "other").write_bytes(keys.age().identity)
        assert download(tenant, tmp_path, "other").returncode == 77
        assert not list(tmp_path.rglob("core"))
        opened = download(tenant, tmp_path, "key")
        assert opened.returncode == 0, opened.stderr
        (dump,) = downloaded_cores.unpacked(tmp_path / "out")
        downloaded_cores.check_whole(dump)
        assert downloaded_cores.holds(dump, *crashers.HEAP_MARKERS)
        assert crashers.FUNCTION in downloaded_cores.backtrace(target.crashers / "crasher", dump)


def download(user: Kubectl, directory: Path, identity: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "dist/coredumpd"), "download", "-n", TENANT_NAMESPACE, "sealed"]
    command += ["-o", str(directory / "out"), "--identity", str(directory / identity)]
    return subprocess.run(
        command, capture_output=True, text=True, env=user.environment(), timeout=120
    )
