from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from coredumpd.apiserver.http import connections


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("10.0.0.1", 4711), "10.0.0.1"),
        (("2001:db8:0:1::7", 4711, 0, 0), "2001:db8:0:1::/64"),
        (("2001:db8:0:1:ffff::8", 1, 0, 0), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("::ffff:10.0.0.1", 1, 0, 0), "10.0.0.1"),
        ((), ""),
        (("@",), ""),
    ],
)
def test_a_peer_is_an_address_or_a_network_of_ipv6(address, peer):
    assert connections.peer_of(address) == peer


def nothing() -> None:
    pass


def opened(most: int, **peers: int) -> connections.Connections:
    open_ = connections.Connections(most)
    for peer, count in peers.items():
        for number in range(count):
            assert open_.room(peer) == (True, None)
            open_.add(f"{peer}{number}", peer)
    return open_


def test_a_peer_with_half_of_all_makes_room_for_itself():
    open_ = opened(8, a=4)
    assert open_.room("a") == (True, "a0")
    assert open_.room("b") == (True, None)
    assert open_.closed == 1


def test_when_full_the_peer_with_most_makes_room():
    open_ = opened(40, c=7, a=20, b=13)
    assert open_.room("d") == (True, "a0")
    for number in range(13):
        open_.occupy(f"a{number}", nothing)  # 7 of a wait now, 13 of b
    assert open_.room("d") == (True, "b0")


def test_peers_with_few_connections_are_alike_and_the_oldest_makes_room():
    open_ = opened(12, a=1, b=6, c=5)
    assert open_.room("d") == (True, "a0")
    open_.wait("a0")
    assert open_.room("d") == (True, "b0")


def test_the_front_proxy_may_have_more_than_half_of_all():
    open_ = connections.Connections(20)
    for number in range(18):
        assert open_.room("a") == (True, None)
        open_.add(f"a{number}", "a")
        open_.trust(f"a{number}")
    open_.add("probe1", "kubelet")
    open_.add("probe2", "kubelet")
    assert open_.room("a") == (True, "a0")
    for number in range(18):
        open_.occupy(f"a{number}", nothing)
    assert open_.room("a") == (True, "probe1")


def test_when_all_are_being_answered_nobody_is_let_in():
    open_ = opened(2, a=1, b=1)
    for one in ("a0", "b0"):
        assert open_.occupy(one, nothing)
    assert open_.room("c") == (False, None)


def test_a_connection_is_over_once_when_it_waits_again_or_is_closed():
    open_, over = opened(4, a=2), []
    open_.occupy("a0", lambda: over.append("a0"))
    open_.wait("a0")
    open_.remove("a0")
    open_.occupy("a1", lambda: over.append("a1"))
    open_.remove("a1")
    open_.remove("a1")
    assert over == ["a0", "a1"]
    assert not open_.occupy("a1", nothing)
    assert len(open_) == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "occupy", "wait", "close", "trust"]), st.integers(0, 5)),
    max_size=150,
)


@hypothesis.given(STEPS, st.integers(2, 12))
def test_newcomers_of_a_peer_that_has_less_are_let_in_while_somebody_waits(steps, most):
    open_, number = connections.Connections(most), 0
    present: dict[str, list[str]] = {}
    busy: set[str] = set()

    def forget(one: str) -> None:
        for names in present.values():
            if one in names:
                names.remove(one)
        busy.discard(one)

    for step, which in steps:
        peer = f"peer{which}"
        mine = present.setdefault(peer, [])
        match step:
            case "open":
                everybody = [one for names in present.values() for one in names]
                let_in, victim = open_.room(peer)
                if not mine and set(everybody) - busy:
                    assert let_in
                if victim is not None:
                    assert victim not in busy
                    open_.remove(victim)
                    forget(victim)
                if let_in:
                    number += 1
                    open_.add(f"{peer}-{number}", peer)
                    mine.append(f"{peer}-{number}")
            case "occupy" if mine:
                busy.add(mine[0])
                assert open_.occupy(mine[0], nothing)
            case "wait" if mine:
                busy.discard(mine[0])
                open_.wait(mine[0])
            case "trust" if mine:
                busy.discard(mine[0])
                open_.trust(mine[0])
            case "close" if mine:
                open_.remove(mine[0])
                forget(mine[0])
        assert len(open_) == sum(map(len, present.values())) <= most
