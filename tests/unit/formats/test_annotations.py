from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from coredumpd.formats import annotations as dump_annotations

GIB = 1024**3
DEFAULT = dump_annotations.Rules(enabled=True, maxSize=8 * GIB)
anything = some.dictionaries(
    some.sampled_from(["capture", "max-size", "quota", "retention", "maxsize"]) | some.text(),
    some.sampled_from(["enabled", "disabled", "1Gi", "64Gi", "24h"]) | some.text(),
)
rules = some.builds(dump_annotations.Rules, some.booleans(), some.integers(0, 2**40))


def test_a_namespace_overrides_the_cluster_in_both_directions() -> None:
    said = {"capture": "enabled", "max-size": "64Gi"}
    off = dump_annotations.Rules(enabled=False, maxSize=8 * GIB)
    assert dump_annotations.of_namespace(said, off) == (dump_annotations.Rules(True, 64 * GIB), [])
    assert not dump_annotations.of_namespace({"capture": "disabled"}, DEFAULT)[0].enabled


def test_a_pod_restricts() -> None:
    found, problems = dump_annotations.of_pod({"capture": "disabled", "max-size": "1Gi"}, DEFAULT)
    assert (found, problems) == (dump_annotations.Rules(False, GIB), [])


@given(anything, rules)
def test_no_pod_ever_widens_what_holds_in_its_namespace(said, outer):
    found, _ = dump_annotations.of_pod(said, outer)
    assert found.enabled <= outer.enabled
    assert found.maxSize <= outer.maxSize


def test_a_pod_that_tries_to_widen_is_told_what_stands() -> None:
    outer = dump_annotations.Rules(enabled=False, maxSize=GIB)
    _, problems = dump_annotations.of_pod({"capture": "enabled", "max-size": "2Gi"}, outer)
    assert problems == [
        "annotation coredump.fujitsu.com/capture: 'enabled': a pod may only restrict what holds in"
        " its namespace; disabled stands",
        "annotation coredump.fujitsu.com/max-size: '2Gi': a pod may only restrict what holds in"
        " its namespace; 1Gi stands",
    ]


@pytest.mark.parametrize("decide", [dump_annotations.of_namespace, dump_annotations.of_pod])
@pytest.mark.parametrize(
    ("name", "value", "stands"),
    [
        ("capture", "off", "taken as disabled"),
        ("capture", "Enabled", "taken as disabled"),
        ("capture", "", "taken as disabled"),
        ("max-size", "2GB", "8Gi stands"),
        ("max-size", "-1", "8Gi stands"),
        ("maxSize", "2Gi", "it is ignored"),
    ],
)
def test_a_typo_is_named_with_its_rule_and_what_stands_instead(decide, name, value, stands):
    found, (problem,) = decide({name: value}, DEFAULT)
    assert problem.startswith(f"annotation coredump.fujitsu.com/{name}: {value!r}: ")
    assert problem.endswith(stands)
    assert found == dump_annotations.Rules("disabled" not in stands, 8 * GIB)


def test_quota_and_retention_are_a_namespaces_alone() -> None:
    assert dump_annotations.of_namespace({"quota": "1Gi", "retention": "1h"}, DEFAULT) == (
        DEFAULT,
        [],
    )
    _, problems = dump_annotations.of_pod({"quota": "1Gi", "retention": "1h"}, DEFAULT)
    assert [problem.rpartition(";")[2] for problem in problems] == [" it is ignored"] * 2


def test_a_wrong_quota_or_retention_keeps_the_default_and_says_so() -> None:
    default = dump_annotations.Retention(quota=10 * GIB, keep_s=86400)
    found, problems = dump_annotations.retention_of(
        {"quota": "lots", "retention": "1 week"}, default
    )
    assert found == default
    assert [problem.rpartition("; ")[2] for problem in problems] == ["10Gi stands", "1d stands"]
    good = {"quota": "1Gi", "retention": "168h"}
    assert dump_annotations.retention_of(good, default) == (
        dump_annotations.Retention(GIB, 604800),
        [],
    )


@given(anything)
def test_what_cannot_be_obeyed_is_never_passed_over(said):
    _, problems = dump_annotations.of_namespace(said, DEFAULT)
    for name, value in said.items():
        known = name in dump_annotations.OF_NAMESPACES
        bad = name == "capture" and value not in ("enabled", "disabled")
        if not known or bad:
            assert any(f"/{name}: " in problem for problem in problems)


@pytest.mark.parametrize(("value", "keeps"), [("true", True), ("false", False), ("1", False)])
def test_a_pod_pins_its_dumps_by_one_word_and_every_other_is_told(value, keeps):
    assert dump_annotations.keeps({dump_annotations.KEEP: value}) is keeps
    _, problems = dump_annotations.of_pod(
        {dump_annotations.KEEP: value}, dump_annotations.Rules(True, 10)
    )
    assert bool(problems) == (value == "1")
    assert not dump_annotations.keeps({})


def test_only_our_annotations_are_ours() -> None:
    metadata = {"annotations": {"coredump.fujitsu.com/capture": "disabled", "other": "x"}}
    assert dump_annotations.ours(metadata) == {"capture": "disabled"}
    assert dump_annotations.ours({}) == dump_annotations.ours({"annotations": None}) == {}


def test_a_namespace_may_name_who_can_open_its_cores_and_a_pod_may_not() -> None:
    said = {"encrypt-to": "coredump-recipients"}
    assert dump_annotations.of_namespace(said, DEFAULT) == (DEFAULT, [])
    _, problems = dump_annotations.of_pod(said, DEFAULT)
    assert len(problems) == 1
    assert "is no annotation of a pod" in problems[0]


@pytest.mark.parametrize("text", ["", "Keys", "a b", "../x", "enabled/yes", "x" * 300])
def test_a_name_that_no_config_map_has_is_told_and_still_wants_sealing(text: str) -> None:
    _, problems = dump_annotations.of_namespace({"encrypt-to": text}, DEFAULT)
    assert problems == [dump_annotations.no_config_map(text)]
    assert problems[0] is not None
    assert problems[0].endswith("no dump leaves its node")


@given(some.dictionaries(some.text(max_size=5), some.text(max_size=600), max_size=50))
def test_what_is_ours_is_bounded_and_a_value_that_was_cut_is_never_obeyed(given_: dict[str, str]):
    long = {"capture": "enabled" + " " * 300, "max-size": "1" * 300, "encrypt-to": "x" * 300}
    present = {f"coredump.fujitsu.com/{name}": value for name, value in (given_ | long).items()}
    own = dump_annotations.ours({"annotations": present})
    assert all(len(value) <= dump_annotations.VALUE_CHARS_MAX + 1 for value in own.values())
    known = {*dump_annotations.OF_NAMESPACES, *dump_annotations.OF_PODS}
    assert len(set(own) - known) <= dump_annotations.UNKNOWN_MAX
    assert set(long) <= set(own)
    rules, _ = dump_annotations.of_namespace(own, DEFAULT)
    assert rules == dump_annotations.Rules(enabled=False, maxSize=DEFAULT.maxSize)
    assert dump_annotations.no_config_map(own["encrypt-to"])
