from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import dumps

from coredumpd import errors
from coredumpd.formats import event_reasons, event_report
from coredumpd.kube import pods

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "1234-5678"}
GOOD = event_report.Report.of(POD, event_reasons.POLICY, "cannot be obeyed", "same")


@given(some.text(max_size=3000), some.text(max_size=100), some.integers(1, 2**40))
def test_every_message_of_an_agent_arrives_as_one_printable_line(message, same, count):
    report = event_report.Report.of(POD, event_reasons.SKIPPED, message or "-", same, count)
    assert event_report.Report.parse(report.encode()) == report
    assert report.regarding() == POD


@pytest.mark.parametrize("kind", [None, "init", "ephemeral"])
def test_a_containers_event_is_about_the_container(kind):
    regarding = pods.reference(dumps.crash(containerKind=kind))
    report = event_report.Report.of(regarding, event_reasons.DUMPED, "it died", "same")
    assert event_report.Report.parse(report.encode()).regarding() == regarding


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", "Shop"),
        ("namespace", "_host"),
        ("namespace", "../kube-system"),
        ("pod", ""),
        ("pod", "web/0"),
        ("uid", "a b"),
        ("uid", None),
        ("uid", {}),
        ("path", "spec.containers{app"),
        ("path", "spec.volumes{app}"),
        ("path", "spec.containers{}}"),
        ("path", 7),
        ("reason", "Killing"),
        ("reason", ["CoreDumped"]),
        ("message", ""),
        ("message", "x" * 1025),
        ("message", "two\nlines"),
        ("message", "\u202e"),
        ("series", "short"),
        ("series", "G" * 32),
        ("count", 0),
        ("count", True),
        ("count", 1e9),
        ("count", 2**31),
    ],
)
def test_what_is_no_event_of_ours_is_refused_by_the_fields_name(field, value):
    body = json.dumps(dataclasses.asdict(GOOD) | {field: value}).encode()
    with pytest.raises(errors.Invalid) as refusal:
        event_report.Report.parse(body)
    assert [cause.field for cause in refusal.value.causes] == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 8000,
        b'{"namespace": "shop"}',
        GOOD.encode().replace(b'"count":1', b'"count":1,"source":"node2"'),
        GOOD.encode() + b" " * event_report.BYTES_MAX,
    ],
)
def test_a_body_of_another_shape_is_refused(body):
    with pytest.raises(errors.Invalid, match="must be a JSON object"):
        event_report.Report.parse(body)


@given(some.binary(max_size=300))
def test_any_bytes_are_an_event_or_an_error_of_the_client(body):
    with pytest.raises(errors.Invalid):
        event_report.Report.parse(body)
