"""Thresholds as kubelets are given them."""

from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.agent.kubelet import eviction

GIB = 1024**3


def keep(document: dict[str, object], *flags: str | None, inodes: bool = False) -> int:
    """Of a disk of 1000 GiB, or as many inodes, what stays free: in GiB, or in inodes."""
    hard, soft = (*flags, None, None)[:2]
    thresholds, problems = eviction.of_configuration(document, hard, soft)
    assert problems == []
    return eviction.keep(thresholds, 1000 * GIB, inodes) // GIB


@pytest.mark.parametrize(
    ("document", "flags", "expected", "inodes"),
    [
        ({}, (), 150, 100),
        ({"evictionHard": None}, (), 150, 100),
        # What is given replaces all the defaults.
        ({"evictionHard": {"nodefs.available": "20%"}}, (), 250, 0),
        ({"evictionHard": {"imagefs.available": "30%"}}, (), 300, 0),
        ({"evictionHard": {"nodefs.available": "10Gi"}}, (), 60, 0),
        ({"evictionHard": {"nodefs.inodesFree": "12.5%"}}, (), 0, 175),
        ({"evictionHard": {"nodefs.available": "0%", "imagefs.available": "100%"}}, (), 0, 0),
        ({"evictionHard": {}}, (), 0, 0),
        ({"evictionHard": {"memory.available": "100Mi"}}, (), 0, 0),
        (
            {"evictionHard": {"nodefs.available": "2%"}, "mergeDefaultEvictionSettings": True},
            *((), 150, 100),
        ),
        ({"evictionSoft": {"nodefs.available": "40%"}}, (), 450, 100),
        ({"evictionSoft": {"containerfs.available": "40%"}}, (), 450, 100),
        ({"evictionHard": {"nodefs.available": "50%"}}, ("nodefs.available<5%",), 100, 0),
        ({}, ("memory.available<1Gi,nodefs.available<5%", "nodefs.available<8%"), 130, 0),
        ({}, ("",), 0, 0),
        ({"evictionHard": {"nodefs.available": "99%"}}, (), 1000, 0),
    ],
)
def test_what_a_kubelet_demands(
    document: dict[str, object], flags: tuple[str, ...], expected: int, inodes: int
) -> None:
    assert (keep(document, *flags), keep(document, *flags, inodes=True)) == (expected, inodes)


@pytest.mark.parametrize("value", ["10 %", "101%", "-1", "ten", "", None, True, ["10%"], "9" * 999])
def test_a_value_that_is_none_is_named_and_the_default_counts(value: object) -> None:
    document = {"evictionHard": {"nodefs.available": value}}
    thresholds, (problem,) = eviction.of_configuration(document, None, None)
    assert "nodefs.available: " in problem
    assert len(problem) < 400
    assert eviction.keep(thresholds, 1000) == 150


def test_a_section_that_is_none_is_named_and_the_defaults_count() -> None:
    thresholds, (problem,) = eviction.of_configuration({"evictionHard": "10%"}, None, None)
    assert problem == "evictionHard: must be a mapping of signals"
    assert eviction.keep(thresholds, 1000) == 150


def test_one_value_says_which_signal_it_is_of() -> None:
    with pytest.raises(errors.Invalid, match=r"nodefs.available: 'x': must be a percentage"):
        eviction.threshold("nodefs.available", "x")
