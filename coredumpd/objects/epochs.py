"""Where revisions begin, so that no two stores ever give the same one.

The first revision of a store, and of each stretch of it, is the time in nanoseconds since 1970
plus a random part of a millisecond; the following ones count up by one. No engine writes as often
as once a nanosecond, so a store stays behind the clock, and whatever begins later begins above all
that was given before. If the clock was set back, the random parts keep two stretches apart, and
what the lost store gave last is still to come here: it is refused, never answered. The numbers
fit into the 63 bits that Kubernetes' clients compare, until the year 2262.
"""

from __future__ import annotations

import secrets
import time

_RANDOM_NS = 1_000_000
_AHEAD_NS = 1_000_000_000  # if the clock is behind: more writes than a lost store had since then


def start(last: int = 0) -> int:
    """The first revision of a new stretch, above `last`, which this store gave before."""
    random_ns = secrets.randbelow(_RANDOM_NS)
    now_ns = time.time_ns()
    if 0 <= last - now_ns <= 2 * _RANDOM_NS:  # the last stretch has only just begun
        time.sleep((last - now_ns + 1) / 1e9)
        now_ns = time.time_ns()
    return (now_ns if now_ns > last else last + _AHEAD_NS) + random_ns + 1
