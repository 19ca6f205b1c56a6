from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd.formats import layout, names


@given(st.text(), st.integers(0, 2**64 - 1), st.integers(0, 2**22), st.integers(0, 2**32))
def test_an_id_is_always_a_valid_object_name(exe: str, time: int, pid: int, nonce: int) -> None:
    id = names.make_id(exe, time, pid, nonce)
    assert names.is_dns_subdomain(id)
    assert len(id) <= 63
    layout.DumpKey("ns", "uid", "c", id)


def test_an_id_shows_program_time_and_pid() -> None:
    id = names.make_id("My App../x", 1767323045, 7, 0xBEEF)
    assert id == "my-app.x-20260102t030405z-7-beef"


@pytest.mark.parametrize(
    ("exe", "comm", "name"),
    [
        ("/usr/bin/app", "worker", "app"),
        ("/memfd:worker", "3", "worker"),
        ("/memfd:runc_cloned:/proc/self/exe", "runc", "runc_cloned:/proc/self/exe"),
        ("/memfd:", "3", "3"),
        ("/tmp/memfd:x", "x", "memfd:x"),
        (None, "../app", "app"),
        (None, "", ""),
    ],
)
def test_a_program_is_named_by_its_file_or_as_a_memfd_or_by_the_kernel(
    exe: str | None, comm: str, name: str
) -> None:
    assert names.program(exe, comm) == name


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        (names.make_id("my-app", 1764000000, 4194303, 7), 4194303),
        (names.make_id("x" * 200, 1764000000, 1, 7) + ".part", 1),
        ("a-b-12345678901-c", None),
        ("a-b-\u0667-c", None),
        ("stray", None),
        ("", None),
    ],
)
def test_the_process_is_read_from_an_id_and_from_nothing_else(
    id: str, expected: int | None
) -> None:
    assert names.pid_of(id) == expected


@given(st.text(), st.integers(0, 2**32), st.integers(0, 2**22), st.integers(0, 2**16))
def test_time_and_process_are_read_back_from_an_id(
    exe: str, time_s: int, pid: int, nonce: int
) -> None:
    id = names.make_id(exe, time_s, pid, nonce)
    assert (names.id_time(id), names.pid_of(id)) == (time_s, pid)


def test_an_id_that_was_made_elsewhere_has_no_time() -> None:
    assert [names.id_time(id) for id in ("", "stray", "a-b-c-d")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "label", "subdomain", "uid"),
    [
        ("app", True, True, True),
        ("a.b", False, True, False),
        ("-a", False, False, True),
        ("A", False, False, True),
        ("a" * 64, False, True, True),
        ("a" * 254, False, False, False),
        ("", False, False, False),
        ("a..b", False, False, False),
        ("_host", False, False, False),
    ],
)
def test_names_are_those_that_kubernetes_accepts(
    text: str, label: bool, subdomain: bool, uid: bool
) -> None:
    assert (names.is_dns_label(text), names.is_dns_subdomain(text), names.is_uid(text)) == (
        label,
        subdomain,
        uid,
    )
