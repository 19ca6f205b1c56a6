"""Which life of a namespace a dump belongs to. Pure.

By the namespace's uid, which the record has once somebody has proved it. A record without one
belongs to no life: who has the name now must not see it (`proofs` has the one exception).

Time decides nothing but this. Nothing can crash in a namespace before its creation; but the time of
a crash is the node's, the creation is the API server's, and their clocks may differ by SKEW_S:

- a crash within SKEW_S after the creation may be of the former namespace, so its record is read;
- a crash at least SKEW_S before the creation is of a former one, whatever its record lacks.
"""

from __future__ import annotations

from coredumpd.formats import record as records
from coredumpd.server import cluster

SKEW_S = 300.0


def is_of(namespace: cluster.Namespace, record: records.CrashRecord) -> bool:
    """Does the record prove that the dump is of this namespace, not of a former one?"""
    return namespace.uid is None or record.namespace_uid == namespace.uid


def is_surely_after(namespace: cluster.Namespace, time_s: float) -> bool:
    """Was a crash at `time_s` after the creation, however the clocks differ?"""
    return time_s > namespace.created_s + SKEW_S


def is_surely_before(namespace: cluster.Namespace, time_s: float) -> bool:
    """Was a crash at `time_s` before the creation, however the clocks differ?"""
    return time_s < namespace.created_s - SKEW_S
