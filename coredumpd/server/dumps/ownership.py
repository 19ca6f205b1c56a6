"""Which life of a namespace a dump belongs to. Pure.

By the namespace's uid where the record has it; else by time, since nothing can crash in a namespace
before its creation. But the time of a crash is the node's, the creation is the API server's, and
their clocks may differ by up to SKEW_S. Hence two questions that err on different sides:

- `is_surely_of` (may a dump be shown without reading its record?) wants a crash at least SKEW_S
  after the creation: a node whose clock is ahead dates a crash in the former namespace too late.
- `is_surely_of_another` (may a dump be removed?) wants a crash at least SKEW_S before the creation:
  a node whose clock is behind dates a crash in this namespace too early.
"""

from __future__ import annotations

from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.server import cluster

SKEW_S = 300.0


def is_of(namespace: cluster.Namespace, record: records.CrashRecord) -> bool:
    """Does the dump belong to this namespace, and not to a former one of the same name?"""
    return _is_of(namespace, record, namespace.created_s)


def is_surely_of(namespace: cluster.Namespace, time_s: float) -> bool:
    """Does a dump whose crash was at `time_s` belong to this namespace for sure?"""
    return time_s > namespace.created_s + SKEW_S


def is_surely_of_another(namespace: cluster.Namespace, record: records.CrashRecord) -> bool:
    """Does the dump belong to a former namespace, however the clocks differ?"""
    return not _is_of(namespace, record, namespace.created_s - SKEW_S)


def _is_of(namespace: cluster.Namespace, record: records.CrashRecord, created_s: float) -> bool:
    if namespace.uid is None:
        return True
    if record.namespace_uid is not None:
        return record.namespace_uid == namespace.uid
    return names.id_time(record.id) >= created_s
