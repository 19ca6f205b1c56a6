from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from support import dumps

from coredumpd.apiserver.machinery import metadata
from coredumpd.formats import names
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
    ("text", "beginning"),
    [
        ("with space", "with-space-"),
        ("-edges.", "edges-"),
        ("x" * 80, "x" * 46 + "-"),
        ("\x1b[31mred", "31mred-"),
        ("été", "t-"),
        ("///", ""),
        ("\udc80", ""),
        ("a" * 45 + "." * 40, "a" * 45 + "-"),
    ],
)
def test_text_that_is_no_label_value_is_cut_and_ends_in_a_hash(text, beginning):
    label = coredump.label(text)
    assert re.fullmatch(re.escape(beginning) + "[A-Z2-7]{16}", label)
    assert metadata.problems({"labels": {"a": label}}) == []


@pytest.mark.parametrize("text", ["plain", "web-0", "x" * 63, "a.b_c"])
def test_a_label_value_stays_as_it_is(text):
    assert coredump.label(text) == text


NAMES = some.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True)


@given(some.sets(NAMES | some.text(max_size=90), min_size=2, max_size=2))
@example({"a" * 63 + "b", "a" * 63 + "c"})
@example({"my prog", "my-prog"})
@example({"x y", coredump.label("x y")})  # a program named like the label of another one
def test_no_two_texts_share_a_label(texts):
    labels = {coredump.label(text) for text in texts if text}
    assert len(labels) == len(texts - {""})
    assert all(len(label) <= 63 for label in labels)


@given(some.text("abc.-", min_size=64, max_size=253))
def test_no_pod_can_be_named_as_the_label_of_a_long_name(long):
    assert not names.is_dns_subdomain(coredump.label(long))


def test_a_counting_record_says_how_many_and_not_which():
    said = {"count": 7, "firstTime": "a", "lastTime": "b", "folded": ["app-1", "app-2"]}
    key, crash, _ = dumps.make(crashLoop=said)
    status = coredump.make(key, crash, 1)["status"]
    assert status["crashLoop"] == {"count": 7, "firstTime": "a", "lastTime": "b"}
    assert crash.raw["crashLoop"] == said
