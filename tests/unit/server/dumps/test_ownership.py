from __future__ import annotations

import pytest
from support import dumps

from coredumpd.formats import record as records
from coredumpd.server import cluster
from coredumpd.server.dumps import ownership

CREATED_S = 1_790_000_000
SKEW_S = int(ownership.SKEW_S)
NAMESPACE = cluster.Namespace("team-a", "new", CREATED_S)


def crashed(after_s: int, uid: str | None = None) -> records.CrashRecord:
    """A crash that many seconds after the creation of the namespace."""
    return dumps.make(time_s=CREATED_S + after_s, namespaceUID=uid)[1]


@pytest.mark.parametrize("after_s", [-100_000, -1, 0, 1, 100_000])
def test_a_recorded_uid_decides_whatever_the_clocks_say(after_s: int) -> None:
    assert ownership.is_of(NAMESPACE, crashed(after_s, "new"))
    assert not ownership.is_surely_of_another(NAMESPACE, crashed(after_s, "new"))
    assert not ownership.is_of(NAMESPACE, crashed(after_s, "old"))
    assert ownership.is_surely_of_another(NAMESPACE, crashed(after_s, "old"))


def test_without_a_uid_a_crash_is_of_the_namespace_from_its_creation_on() -> None:
    assert ownership.is_of(NAMESPACE, crashed(0))
    assert not ownership.is_of(NAMESPACE, crashed(-1))


def test_a_crash_near_the_creation_is_neither_shown_unread_nor_removed() -> None:
    for after_s in (-SKEW_S, -1, 0, SKEW_S):
        assert not ownership.is_surely_of(NAMESPACE, CREATED_S + after_s)
        assert not ownership.is_surely_of_another(NAMESPACE, crashed(after_s))
    assert ownership.is_surely_of(NAMESPACE, CREATED_S + SKEW_S + 1)
    assert ownership.is_surely_of_another(NAMESPACE, crashed(-SKEW_S - 1))


def test_a_namespace_of_unknown_life_owns_every_dump_of_its_name() -> None:
    namespace = cluster.Namespace("team-a", None, float("-inf"))
    assert ownership.is_of(namespace, crashed(-100_000, "old"))
    assert ownership.is_surely_of(namespace, 0)
    assert not ownership.is_surely_of_another(namespace, crashed(-100_000))
