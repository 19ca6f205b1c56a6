from __future__ import annotations

import pytest

from coredumpd.handler.sandbox import landlock

EXECUTE, WRITE_FILE, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 14, 1 << 15


@pytest.mark.parametrize(
    ("abi", "size", "rights"),
    [
        (1, 8, 0x1FFF),
        (2, 8, 0x3FFF),
        (3, 8, 0x7FFF),
        (4, 16, 0x7FFF),
        (5, 16, 0xFFFF),
        (6, 24, 0xFFFF),
        (99, 24, 0xFFFF),
    ],
)
def test_a_ruleset_holds_what_its_abi_knows_and_nothing_else(
    abi: int, size: int, rights: int
) -> None:
    made = landlock.ruleset(abi)
    assert len(made) == size
    assert int.from_bytes(made[:8], "little") == rights


def test_a_rule_names_rights_and_descriptor() -> None:
    made = landlock.rule(7, landlock.OWN, 5)
    assert len(made) == 12
    rights = int.from_bytes(made[:8], "little")
    assert rights & WRITE_FILE
    assert rights & TRUNCATE
    assert not rights & (EXECUTE | IOCTL_DEV)
    assert made[8:] == b"\5\0\0\0"


def test_a_rule_asks_for_no_right_that_its_abi_does_not_know() -> None:
    for abi in (1, 2):
        assert not int.from_bytes(landlock.rule(abi, landlock.OWN, 5)[:8], "little") & TRUNCATE


def test_the_spool_around_a_capture_is_not_for_reading_or_writing() -> None:
    assert not landlock.SPOOL & (landlock.READ_FILE | landlock.WRITE_FILE | landlock.READ_DIR)
