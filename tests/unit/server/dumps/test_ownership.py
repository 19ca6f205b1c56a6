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
def test_the_recorded_uid_decides_whatever_the_clocks_say(after_s: int) -> None:
    assert ownership.is_of(NAMESPACE, crashed(after_s, "new"))
    assert not ownership.is_of(NAMESPACE, crashed(after_s, "old"))
    assert not ownership.is_of(NAMESPACE, crashed(after_s))


def test_near_the_creation_no_time_decides() -> None:
    for after_s in (-SKEW_S, -1, 0, SKEW_S):
        assert not ownership.is_surely_after(NAMESPACE, CREATED_S + after_s)
        assert not ownership.is_surely_before(NAMESPACE, CREATED_S + after_s)
    assert ownership.is_surely_after(NAMESPACE, CREATED_S + SKEW_S + 1)
    assert ownership.is_surely_before(NAMESPACE, CREATED_S - SKEW_S - 1)


def test_a_namespace_of_unknown_life_owns_every_dump_of_its_name() -> None:
    namespace = cluster.Namespace("team-a", None, float("-inf"))
    assert ownership.is_of(namespace, crashed(-100_000, "old"))
    assert ownership.is_of(namespace, crashed(-100_000))
    assert ownership.is_surely_after(namespace, 0)
