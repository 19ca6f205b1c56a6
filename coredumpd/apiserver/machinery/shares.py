"""Fair shares of a bounded number of places. Pure.

A holder gets one more place only while more are free than it holds already ("dynamic thresholds":
Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). So one alone has at most half
of all places, two that want all have a third each, and the last place only goes to a holder of
none. Nothing has to be known beforehand about how many there are.

Where places are held for long and can be ended without harm, as those of watches can, this alone
would favour those who came first. There a full house makes room: the holder of most loses its
youngest place to one who would still hold fewer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Literal

Decision = Literal["grant", "end", "refuse"]


def decide(held: Mapping[Hashable, int], holder: Hashable, places: int, can_end: bool) -> Decision:
    """Does `holder` get one more of `places`? "end": yes, and the holder of most loses one.

    `held` counts the places of each holder; together they may be more than `places` for a moment,
    while those that were ended are being given back.
    """
    own, free = held.get(holder, 0), places - sum(held.values())
    if not can_end:
        return "grant" if own < free else "refuse"
    if own >= max(1, places // 2):
        return "refuse"
    if free > 0:
        return "grant"
    return "end" if own + 1 < max(held.values(), default=0) else "refuse"


@dataclasses.dataclass(eq=False)
class Place:
    """One place that `holder` has. `end` asks whoever uses it to give it back."""

    holder: Hashable
    end: Callable[[], None] | None = None
    reserved: bool = False


class Shares:
    """The places of one kind. `reserved` more are for the system's own holders alone.

    `refusals` and `ended` count since the start. Not thread-safe.
    """

    def __init__(self, places: int, reserved: int = 0, can_end: bool = False) -> None:
        self.places = places
        self.reserved = reserved
        self.refusals = 0
        self.ended = 0
        self._can_end = can_end
        self._held: dict[Hashable, dict[Place, None]] = {}  # the oldest first
        self._reserved_used = 0

    @property
    def used(self) -> int:
        """The number of places that are held, reserved ones too."""
        return self._reserved_used + sum(map(len, self._held.values()))

    def take(
        self, holder: Hashable, end: Callable[[], None] | None = None, system: bool = False
    ) -> Place | None:
        """A place, to be given back once; None if the holder gets none now.

        `system`: a reserved place will do. `end` is called at most once.
        """
        if system and self._reserved_used < self.reserved:
            self._reserved_used += 1
            return Place(holder, reserved=True)
        counts = {other: len(places) for other, places in self._held.items()}
        decision = decide(counts, holder, self.places, self._can_end)
        if decision == "refuse":
            self.refusals += 1
            return None
        if decision == "end":
            self._end_one_of(max(counts, key=counts.__getitem__))
        place = Place(holder, end)
        self._held.setdefault(holder, {})[place] = None
        return place

    def give_back(self, place: Place) -> None:
        """The place is free again. May be called twice."""
        if place.reserved:
            self._reserved_used -= 1
            place.reserved = False
            return
        places = self._held.get(place.holder, {})
        places.pop(place, None)
        if not places:
            self._held.pop(place.holder, None)

    def _end_one_of(self, holder: Hashable) -> None:
        """End the youngest place of `holder`: it counts no more from now on."""
        place = next(reversed(self._held[holder]))
        self.give_back(place)
        self.ended += 1
        if place.end is not None:
            place.end()
