"""Keys and prefixes: every one in hand is safe to join to a path, and reads back from it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import layout

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("namespace", "uid", "container", "id"),
    [
        ("..", "u", "c", "i"),
        ("ns", "../u", "c", "i"),
        ("ns", "u", "a/b", "i"),
        ("ns", "u", "c", ".hidden"),
        ("ns", "u", "c", "i.part/../x"),
        ("ns", "u", "c", "x" * 64),
        ("NS", "u", "c", "i"),
        ("ns", "u", "", "i"),
        ("ns", "u\x00", "c", "i"),
        ("_host", "../n", "c", "i"),
    ],
)
def test_a_key_with_a_part_that_is_no_kubernetes_name_is_refused(
    namespace: str, uid: str, container: str, id: str
) -> None:
    with pytest.raises(errors.Invalid):
        layout.DumpKey(namespace, uid, container, id)


@given(LABELS, LABELS, LABELS, LABELS)
def test_a_key_reads_back_from_its_path(
    namespace: str, pod_uid: str, container: str, id: str
) -> None:
    key = layout.DumpKey(namespace, pod_uid, container, id)
    assert layout.DumpKey.parse(str(key)) == key
    assert key.path(layout.CORE) == f"{namespace}/{pod_uid}/{container}/{id}/core.gz"


def test_a_host_crashs_key_reads_back_from_its_path() -> None:
    key = layout.DumpKey("_host", "node1.example", "evil.comm", "id-1")
    assert layout.DumpKey.parse("_host/node1.example/evil.comm/id-1") == key


@given(st.text(alphabet="ab./\0_-", max_size=12))
def test_a_path_is_a_key_or_refused(path: str) -> None:
    with contextlib.suppress(errors.Invalid):
        assert str(layout.DumpKey.parse(path)) == path


@pytest.mark.parametrize("path", ["", "ns", "ns/u/c", "ns/u/c/i/core.gz", "ns/u/c/i/", "/ns/u/c/i"])
def test_a_path_of_more_or_fewer_than_four_names_is_no_key(path: str) -> None:
    with pytest.raises(errors.Invalid):
        layout.DumpKey.parse(path)


def test_a_prefix_is_the_names_that_are_given() -> None:
    assert layout.Prefix().parts == ()
    assert layout.Prefix("team-a", "u1").parts == ("team-a", "u1")
    assert str(layout.Prefix("team-a", "u1", "app")) == "team-a/u1/app"
    assert layout.Prefix("_host", "node1.example", "a.out").parts[2] == "a.out"


@pytest.mark.parametrize("parts", [(None, "u1"), (None, None, "app"), ("team-a", None, "app")])
def test_a_prefix_with_a_gap_is_refused(parts: tuple[str | None, ...]) -> None:
    with pytest.raises(errors.BadRequest):
        layout.Prefix(*parts)


@pytest.mark.parametrize(
    "parts",
    [("..",), ("",), ("team-a", "../u"), ("team-a", "u1", "a/b"), ("team-a", "u1", "a.b")],
)
def test_a_prefix_that_could_leave_the_root_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(errors.Invalid):
        layout.Prefix(*parts)


def test_a_prefix_covers_the_dumps_below_it_only() -> None:
    key = layout.DumpKey("team-a", "u1", "app", "id-1")
    assert all(
        layout.Prefix(*parts).covers(key)
        for parts in [(), ("team-a",), ("team-a", "u1"), ("team-a", "u1", "app")]
    )
    assert not layout.Prefix("team-a", "u2").covers(key)
    assert not layout.Prefix("team").covers(key)
    assert key.prefix == layout.Prefix("team-a", "u1", "app")


def test_the_names_of_a_path_are_split_and_none_may_leave_the_root() -> None:
    assert layout.split("a/b/c") == ["a", "b", "c"]
    assert layout.split("a/empty/") == ["a", "empty"]
    for path in ("", "/a", "a//b", "a/../b", ".", "a/\0"):
        with pytest.raises(errors.Invalid):
            layout.split(path)
