"""The namespaces that give bytes back when a store's disk is nearly full. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def cuts(held: Mapping[str, int], excess: int) -> dict[str, int]:
    """Bytes that each namespace should give so that together they give `excess`.

    The largest are levelled: no namespace gives while another one holds more than it.
    """
    order = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    total = 0
    for count, (_, size) in enumerate(order, 1):
        total += size
        below = order[count][1] if count < len(order) else 0
        if total - count * below >= excess or count == len(order):
            level = max(0, (total - excess) // count)
            return {name: size - level for name, size in order[:count] if size > level}
    return {}
