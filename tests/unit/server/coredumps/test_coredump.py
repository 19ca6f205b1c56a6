from __future__ import annotations

import pytest
from support import dumps

from coredumpd.server.coredumps import coredump


def test_the_record_becomes_labels_and_status():
    key, crash, _ = dumps.make(exe="weird name/with parts")
    made = coredump.make(key, crash, 7)
    assert made["metadata"]["name"] == key.id
    assert made["metadata"]["resourceVersion"] == "7"
    assert made["metadata"]["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert made["status"]["podName"] == "web-0"
    assert "version" not in made["status"]


def test_what_is_not_known_is_left_out():
    key, crash, _ = dumps.make(owner=None, podLabels={})
    status = coredump.make(key, crash, 7)["status"]
    assert status["core"]["truncated"] == {"is": False}
    assert "owner" not in status
    assert status["podLabels"] == {}


def test_the_uid_is_the_dumps_own_and_lasting():
    key, crash, _ = dumps.make()
    other, other_crash, _ = dumps.make(pid=9)
    uid = coredump.make(key, crash, 1)["metadata"]["uid"]
    assert coredump.make(key, crash, 2)["metadata"]["uid"] == uid
    assert coredump.bare(key, 3)["metadata"]["uid"] == uid
    assert coredump.make(other, other_crash, 1)["metadata"]["uid"] != uid


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("plain", "plain"),
        ("with space", "with-space"),
        ("-edges.", "edges"),
        ("x" * 80, "x" * 63),
        ("\x1b[31mred", "31mred"),
        ("été", "t"),
        ("///", ""),
    ],
)
def test_hostile_text_becomes_a_label_value(text, label):
    assert coredump.label(text) == label


def test_a_counting_record_says_how_many_and_not_which():
    said = {"count": 7, "firstTime": "a", "lastTime": "b", "folded": ["app-1", "app-2"]}
    key, crash, _ = dumps.make(crashLoop=said)
    status = coredump.make(key, crash, 1)["status"]
    assert status["crashLoop"] == {"count": 7, "firstTime": "a", "lastTime": "b"}
    assert crash.raw["crashLoop"] == said
