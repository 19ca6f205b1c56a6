"""One cluster and one installation for all end-to-end tests of a session."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support import controllers
from tests.e2e.support import target as targets
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import Target
from tests.support.node import corepattern
from tests.support.waiting import until

NAMESPACE, SERVICE = targets.NAMESPACE, targets.SERVICE
TENANT_NAMESPACE, OTHER_NAMESPACE = "default", "somebody-elses"
_ROLLOUT_S = "120s"


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "write the transcripts of this run into docs/"
    parser.addoption("--update-walkthrough", action="store_true", help=text)


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    if not targets.configured():
        pytest.skip(targets.NEITHER)
    with targets.ready() as ready:
        yield ready


@pytest.fixture(scope="session")
def core_pattern_before(target: Target) -> Iterator[bytes]:
    """What core_pattern is without us; ours to change until the session ends."""
    with corepattern.borrowed():
        yield corepattern.SYSCTLS[0].read_bytes()


@dataclasses.dataclass(frozen=True)
class Installed:
    """Since when (monotonic) the API is there, and how long a log the controllers had by then."""

    yaml: Path
    at_s: float
    controllers_log_chars: int


@pytest.fixture(scope="session")
def installed(target: Target, core_pattern_before: bytes) -> Iterator[Installed]:
    """coredumpd, deployed by deploy.sh."""
    yaml = render(target)
    target.provide_volume()
    apply(target.admin, yaml)
    log = target.own.log(controllers.NAME) if target.own else ""
    try:
        yield Installed(yaml, time.monotonic(), len(log))
    finally:
        show_logs(target.admin)
        # The agent restores core_pattern as it leaves; the cluster may be gone a second later.
        target.admin.run("delete", "daemonset/coredumpd-agent", "-n", NAMESPACE, "--wait=true")
        until("the agent to leave", lambda: not agents(target.admin), 60)


@pytest.fixture(scope="session")
def installation(installed: Installed) -> Path:
    """The YAML of what is installed."""
    return installed.yaml


def render(target: Target, *options: str) -> Path:
    """Run deploy.sh, as for any other run of this session but for `options`; the YAML."""
    out = target.directory / "installation"
    script = targets.ROOT / "deploy/deploy.sh"
    argv = [script, *target.deploy_options(), *options, NAMESPACE, SERVICE, out]
    subprocess.run([str(word) for word in argv], check=True)
    target.adapt(out / "coredumpd.yaml")
    return out / "coredumpd.yaml"


def apply(admin: Kubectl, yaml: Path) -> None:
    """Apply the YAML and wait until everything of it works."""
    admin("apply", "-f", str(yaml))
    for what in ("deployment/coredumpd-server", "daemonset/coredumpd-agent"):
        done = admin.run("rollout", "status", what, "-n", NAMESPACE, f"--timeout={_ROLLOUT_S}")
        if done.returncode != 0:
            show_logs(admin)
            pytest.fail(f"{what} did not roll out: {done.stderr.decode()}")
    condition = ("--for=condition=Available", "apiservice/v1alpha1.coredump.fujitsu.com")
    admin("wait", *condition, "--timeout=60s")


def agents(admin: Kubectl) -> list[object]:
    """The agent's pods."""
    label = "app.kubernetes.io/name=coredumpd-agent"
    found: list[object] = admin.json("get", "pods", "-n", NAMESPACE, "-l", label)["items"]
    return found


def show_logs(admin: Kubectl) -> None:
    """What server and agent logged, to the test's captured output."""
    for what in ("deployment/coredumpd-server", "daemonset/coredumpd-agent"):
        words = ("-n", NAMESPACE, "--all-containers", "--tail=100")
        done = admin.run("logs", what, *words)
        print(f"--- {what}", done.stdout.decode(), done.stderr.decode(), sep="\n", file=sys.stderr)
    done = admin.run("get", "pods,events", "-n", NAMESPACE)
    print(done.stdout.decode(), file=sys.stderr)


@pytest.fixture(scope="session")
def admin(target: Target) -> Kubectl:
    return target.admin


@pytest.fixture(scope="session")
def tenant(target: Target, installation: Path) -> Kubectl:
    """A user with the built-in role `edit` in one namespace, and nothing anywhere else."""
    user = target.user("jane", "team-default")
    words = ("--clusterrole=edit", "--user=jane", "-n", TENANT_NAMESPACE)
    target.admin("create", "rolebinding", "jane", *words)
    target.admin("create", "namespace", OTHER_NAMESPACE)
    until("the role edit to hold our rules", lambda: _may_download(user), 30)
    return user


def _may_download(user: Kubectl) -> bool:
    """Roles are aggregated a moment after they are created."""
    words = ("get", "coredumpendpoints.coredump.fujitsu.com", "--subresource=dump")
    return user.run("auth", "can-i", *words, "-n", TENANT_NAMESPACE).returncode == 0


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory in which the seed's commands find `tests/…`, as in the checkout."""
    os.symlink(targets.ROOT / "tests", tmp_path / "tests")
    return tmp_path
