"""What a tenant's process calls itself, on its way through the record, log, metrics and Events."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import string

import pytest
from prometheus_client import parser
from support import crashers, waiting
from support.kube import podspecs
from support.node import capturing, corepattern, kernellog

pytestmark = capturing.needs_core_pattern

# A log line, a sample, a field of JSON, a terminal's colour, and one that writes right to left.
EVIL = '\n{"level":"error"}\n\x1b[31m"} 1\nevil_total 1\n\u202e'.encode() + b"\xff"
SECRET = "hunter2 of the shop"
PRINTABLE = set(string.printable) - set("\r\t\v\f")


@pytest.mark.parametrize("mode", ["pipe", pytest.param("socket", marks=capturing.needs_sockets)])
def test_hostile_words_forge_no_line_of_a_log_no_sample_and_no_event(
    node, kube, pod, tmp_path, mode
):
    node.policy = {"runtimeStateDirs": [str(tmp_path / "runtime")]}
    node.settings["capture"] = mode
    program = os.fsencode(tmp_path) + b"/x" + EVIL
    shutil.copy(crashers.compiled("crasher", tmp_path), program)
    with corepattern.borrowed(), kernellog.following() as records:
        item = podspecs.pod("shop", "web-0", pod.uid)
        kube.objects["/api/v1/namespaces/shop"] = podspecs.namespace("shop")
        kube.objects["/api/v1/pods/shop.web-0"] = item
        kube.objects["/api/v1/namespaces/shop/pods/web-0"] = item
        node.start("--kubeconfig", str(kube.kubeconfig()))
        process = pod.start([program, "abort", EVIL, SECRET], cwd="/", env={"PASSWORD": SECRET})
        assert process.wait(60) == -signal.SIGABRT
        (key,) = node.wait_stored(1)
        waiting.until("the Event", lambda: kube.created("events"), 30)
        said = records()
        metrics = node.get("/metrics")[1]
        assert node.stop() == 0
    assert re.fullmatch(rf"shop/{pod.uid}/app/[a-z0-9.-]+", key)
    meta = (node.store / key / "meta.json").read_text()
    assert set(meta) <= PRINTABLE
    assert SECRET not in meta + node.logged() + metrics + "".join(said)
    assert json.loads(meta)["process"]["exe"].count("\\x0a") == 4
    (event,) = kube.created("events")
    assert set(event["message"]) <= PRINTABLE - {"\n"}
    assert event["reason"] == "CoreDumped"
    assert event["involvedObject"]["uid"] == pod.uid
    assert {json.loads(line)["role"] for line in node.logged().splitlines()} == {"agent"}
    assert set(node.logged()) <= PRINTABLE
    families = {family.name for family in parser.text_string_to_metric_families(metrics)}
    assert not [name for name in families if "evil" in name]
    ours = [line for line in said if "coredumpd[" in line and "self-test by" not in line]
    assert len(ours) == 1, said
    assert "stored" in ours[0]
