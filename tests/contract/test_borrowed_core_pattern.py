"""What a killed test run may leave in core_pattern."""

from __future__ import annotations

import sys

import pytest

from tests.support.node import corepattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (b"core\n", False),
        (b"/var/crash/core.%p\n", False),
        (b"|" + sys.executable.encode() + b" %P %I\n", False),
        (b"|/nowhere/current/coredumpd handle %P\n", True),
        (b"@@/nowhere/capture.sock\n", True),
    ],
)
def test_a_pattern_that_names_nothing_on_this_machine_is_known(
    pattern: bytes, expected: bool
) -> None:
    assert corepattern.names_nothing(pattern) == expected
