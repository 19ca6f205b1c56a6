from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from coredumpd.formats import quota_notice


@given(some.sets(some.sampled_from(["team-a", "team-b", "kube-system"])))
def test_an_agent_reads_what_the_server_says(names):
    assert quota_notice.reached(quota_notice.document(names)) == names


def test_a_config_map_that_says_nothing_of_it_reaches_nobody() -> None:
    for found in ({}, {"data": None}, {"data": {"reached": 7}}, {"data": {"other": "team-a"}}):
        assert quota_notice.reached(found) == frozenset()
