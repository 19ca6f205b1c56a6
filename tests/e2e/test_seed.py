"""The main job: a pod crashes, its owner downloads the core with the seed's own commands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import OTHER_NAMESPACE, TENANT_NAMESPACE
from tests.e2e.support import coredump_endpoints, crashing_pods, downloaded_cores
from tests.e2e.support.images import PYTHON
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import ROOT, Target
from tests.e2e.support.transcript import Transcript
from tests.support import crashers
from tests.support.waiting import until

CREATE = (
    'cat tests/coredumpendpoint_template.yaml |sed "s/__NAMESPACE__/default/g"'
    ' | sed "s/__NAME__/test-pod/g"| kubectl create -f -'
)
CREATE_WITH_UID = (
    'cat tests/coredumpendpoint_template.yaml |sed "s/__NAMESPACE__/default/g"'
    ' | sed "s/__NAME__/test-pod/g"| sed "s/__UID__/1234-5678/g"|kubectl create -f -'
)
DOWNLOAD = (
    "kubectl get --raw=/apis/coredump.fujitsu.com/v1alpha1/namespaces/default"
    "/coredumpendpoints/test-pod/dump?container=test-container>>coredump.tar.gz"
)
UNPACK = "mkdir coredump-files && tar -zxvf coredump.tar.gz -C ./coredump-files"
_STORED_S = 90.0


def test_the_seeds_commands_download_the_core_of_a_pod_that_exists_and_of_one_that_does_not(
    tenant: Kubectl, target: Target, here: Path, request: pytest.FixtureRequest
) -> None:
    program = crashers.compiled("crasher", target.crashers)
    uid = crashing_pods.crash(
        tenant, TENANT_NAMESPACE, "test-pod", {"test-container": ["/crash/crasher", "segv"]}
    )
    session = Transcript(tenant, here)
    session.say(
        "Run by `make e2e` on a real node, as a user with the role `edit` in one namespace.\n"
        "The container `test-container` of `default/test-pod` has just crashed."
    )
    session.run("kubectl auth can-i --list | grep coredump")
    session.run("kubectl get pod test-pod")
    session.say("## From exist pod")
    session.run(CREATE)
    until(
        "the dump to be stored",
        lambda: coredump_endpoints.dumps(tenant, TENANT_NAMESPACE, "test-pod"),
        _STORED_S,
    )
    session.run("kubectl get coredumpendpoints")
    session.run(DOWNLOAD)
    session.run(UNPACK)
    (dump,) = downloaded_cores.unpacked(here / "coredump-files")
    _check(dump, uid, program)
    core = dump.core.relative_to(here)
    shutil.copy(program, here / "crasher")
    session.run(f"gdb -nx -batch -ex bt crasher {core} 2>&1 | tail -n 6")

    session.say("## From non-exist pod")
    session.run("kubectl delete coredumpendpoint test-pod")
    session.run("kubectl delete pod test-pod")
    first = (here / "coredump.tar.gz").rename(here / "first.tar.gz")
    session.say("Without the uid of the deleted pod the API says what to do:")
    assert "podUID" in session.run(CREATE, fails=True)
    session.say(f"Its uid was `{uid}`; the seed's `1234-5678` stands for it:")
    session.run(CREATE_WITH_UID.replace("1234-5678", uid))
    session.run(DOWNLOAD)
    session.run("rm -r coredump-files && " + UNPACK)
    assert (here / "coredump.tar.gz").read_bytes() == first.read_bytes()
    (dump,) = downloaded_cores.unpacked(here / "coredump-files")
    _check(dump, uid, program)
    session.run("kubectl delete coredumpendpoint test-pod")

    session.say(
        f"## Somebody else's namespace\n\nThe same user, the namespace `{OTHER_NAMESPACE}`:"
    )
    stolen = DOWNLOAD.replace("default", OTHER_NAMESPACE).replace(">>coredump.tar.gz", "")
    assert "Forbidden" in session.run(stolen, fails=True)
    if request.config.getoption("--update-walkthrough"):
        session.write(ROOT / "docs/walkthrough.md", "A walkthrough on a real cluster")


def _check(dump: downloaded_cores.Dump, uid: str, program: Path) -> None:
    downloaded_cores.check_whole(dump)
    meta = dump.meta
    names = [meta[name] for name in ("namespace", "podName", "podUID", "container")]
    assert names == ["default", "test-pod", uid, "test-container"]
    assert (meta["signal"]["name"], meta["signal"]["codeName"]) == ("SIGSEGV", "SEGV_MAPERR")
    assert meta["process"]["nsPid"] == 1
    printed = downloaded_cores.backtrace(program, dump)
    assert "signal SIGSEGV" in printed
    assert re.search(r"#0 .*\bcrash_here\b", printed), printed
    assert downloaded_cores.holds(dump, *crashers.HEAP_MARKERS)


def test_every_kind_of_program_gives_a_whole_core(
    tenant: Kubectl, target: Target, here: Path
) -> None:
    """C, threads, Python, and a process that is not PID 1 of its container, in one pod.

    And one that leaves none: PID 1 ignores its own signals, and ends with a crash's code.
    """
    containers = {
        "threads": ["/crash/crasher_threads", "8"],
        "python": ["/usr/bin/python3", "/crash/crasher.py"],
        "child": ["/bin/sh", "-c", "/crash/crasher abort; sleep 3600"],
        "divides": ["/crash/crasher", "divide"],
    }
    without_core = {"ignores": ["/bin/sh", "-c", "kill -SEGV $$; exit 139"]}
    every = containers | without_core
    uid = crashing_pods.crash(tenant, TENANT_NAMESPACE, "menagerie", every)
    text = (here / "tests/coredumpendpoint_template.yaml").read_text()
    text = text.replace("__NAMESPACE__", TENANT_NAMESPACE).replace("__NAME__", "menagerie")
    tenant("create", "-f", "-", input=text)
    until(
        "four dumps",
        lambda: coredump_endpoints.dumps(tenant, TENANT_NAMESPACE, "menagerie") >= 4,
        _STORED_S,
    )
    Transcript(tenant, here).run(
        DOWNLOAD.replace("test-pod", "menagerie").split("?")[0] + ">all.tar.gz"
    )
    Transcript(tenant, here).run("mkdir all && tar -zxf all.tar.gz -C all")
    found = {dump.meta["container"]: dump for dump in downloaded_cores.unpacked(here / "all")}
    assert found.keys() == containers.keys()
    for dump in found.values():
        downloaded_cores.check_whole(dump)
        assert dump.meta["podUID"] == uid
        assert downloaded_cores.holds(dump, *crashers.HEAP_MARKERS)

    event = until(
        "an Event on the container without a core", lambda: _missing(tenant, uid), _STORED_S
    )
    assert event["involvedObject"]["fieldPath"] == "spec.containers{ignores}"
    assert "exit code 139 (SIGSEGV)" in event["message"]
    assert "as PID 1 it ignores signals of its own" in event["message"]

    printed = downloaded_cores.backtrace(
        crashers.compiled("crasher_threads", target.crashers), found["threads"]
    )
    assert "signal SIGSEGV" in printed
    assert re.search(r"#0 .*\bcrash_here\b", printed), printed
    assert len(re.findall(r"^Thread \d+ ", printed, re.M)) == 9

    printed = downloaded_cores.backtrace(PYTHON, found["python"])
    assert "signal SIGSEGV" in printed
    assert "_PyEval_EvalFrameDefault" in printed  # the interpreter, of which Debian keeps names

    program = crashers.compiled("crasher", target.crashers)
    printed = downloaded_cores.backtrace(program, found["child"])
    assert "signal SIGABRT" in printed
    assert re.search(r"\bcrash_here\b", printed), printed
    assert found["child"].meta["process"]["nsPid"] != 1

    assert "signal SIGFPE" in downloaded_cores.backtrace(program, found["divides"])
    crashing_pods.delete(tenant, TENANT_NAMESPACE, "menagerie")
    tenant("delete", "coredumpendpoint", "menagerie")


def _missing(kubectl: Kubectl, pod_uid: str) -> dict[str, Any] | None:
    """The one Event about a missing core on this pod."""
    selector = f"--field-selector=involvedObject.uid={pod_uid},reason=CoreDumpMissing"
    events = kubectl.json("get", "events", "-n", TENANT_NAMESPACE, selector)["items"]
    assert len(events) <= 1, events
    return events[0] if events else None
