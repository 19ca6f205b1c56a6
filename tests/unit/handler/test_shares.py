"""A quarter is everybody's, more while it leaves as many free; the last is for who has none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coredumpd.handler import shares

HOLDERS = st.builds(
    lambda namespace, pod: shares.Holder(namespace, f"{namespace}-{pod}"),
    st.sampled_from(["a", "b", "c", "d", "e", "f"]),
    st.integers(0, 3),
)


def count(holders: list[shares.Holder], namespace: str) -> int:
    return sum(holder.namespace == namespace for holder in holders)


@given(st.integers(1, 40), st.lists(HOLDERS, max_size=120))
def test_whatever_order_they_come_in_more_than_a_quarter_leaves_as_many_free(
    slots: int, asking: list[shares.Holder]
) -> None:
    holders: list[shares.Holder] = []
    for one in asking:
        if shares.refusal(one, holders, slots) is None:
            own = count(holders, one.namespace)
            assert not own or len(holders) < slots - 1, "the last, to one that has some"
            holders.append(one)
            if own + 1 > max(1, slots // 4):
                assert own + 1 <= slots - len(holders), "more than a share, of what others need"
    assert len(holders) <= slots
    for holder in holders:
        assert count(holders, holder.namespace) <= max(1, slots // 2)


@given(st.integers(2, 200))
def test_who_is_alone_has_half_and_two_others_then_have_their_quarter(slots: int) -> None:
    holders: list[shares.Holder] = []
    taken = dict.fromkeys("abc", 0)
    for name in "abc":
        one = shares.Holder(name, f"{name}-1")
        while shares.refusal(one, holders, slots) is None:
            holders.append(one)
            taken[name] += 1
    assert taken["a"] == slots // 2
    assert taken["b"] >= slots // 4
    assert taken["c"] >= max(1 if slots > 3 else 0, slots // 4 - 1)


@given(st.integers(2, 40), st.lists(HOLDERS, max_size=120))
def test_three_tenants_that_take_all_they_get_leave_room_for_another(
    slots: int, asking: list[shares.Holder]
) -> None:
    greedy = [holder for holder in asking if holder.namespace in ("a", "b", "c")]
    holders: list[shares.Holder] = []
    for one in greedy:
        if shares.refusal(one, holders, slots) is None:
            holders.append(one)
    if slots >= 5:
        assert shares.refusal(shares.Holder("z", "z-1"), holders, slots) is None


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_an_allowance_is_a_quarter_and_leaves_as_much_as_it_takes(total: int, others: int) -> None:
    allowed = shares.allowance(total, others)
    assert 0 <= allowed <= total // 4
    assert allowed <= max(0, total - others - allowed)


@given(st.integers(4, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_two_greedy_tenants_take_nothing_from_a_third(total: int, one: int, two: int) -> None:
    one = min(one, shares.allowance(total, 0))
    two = min(two, shares.allowance(total, one))
    assert shares.allowance(total, one + two) == shares.allowance(total, 0)


@given(st.integers(1, 60), st.lists(st.sampled_from("abcdefgh"), max_size=200))
def test_the_last_entry_is_for_who_has_none(total: int, asking: list[str]) -> None:
    entries: list[str] = []
    for one in asking:
        own = entries.count(one)
        if shares.may_enter(total, len(entries) - own, own):
            assert own < max(1, total // 4)
            if len(entries) == total - 1:
                assert own == 0 or total // 4 > own
            entries.append(one)
    assert len(entries) <= total
