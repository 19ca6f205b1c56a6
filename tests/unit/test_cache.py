from __future__ import annotations

from coredumpd import cache


def test_an_entry_expires_after_its_lifetime_and_not_before() -> None:
    now = [0.0]
    entries = cache.expiring(10, 5.0, lambda: now[0])
    entries["name"] = 1
    now[0] = 4.9
    assert entries.get("name") == 1
    now[0] = 5.0
    assert entries.get("name") is None


def test_a_map_never_holds_more_entries_than_it_may() -> None:
    for entries in (cache.expiring(3, 60.0), cache.recent(3)):
        for number in range(10):
            entries[number] = number
        assert sorted(entries) == [7, 8, 9]
