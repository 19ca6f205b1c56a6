"""Which life of a namespace a dump belongs to. Pure."""

from __future__ import annotations


def is_of_namespace(
    recorded_uid: str | None, time_s: float, namespace_uid: str, created_s: float
) -> bool:
    """Does a dump belong to this namespace, and not to an earlier one of the same name?

    By the namespace's uid where the record has it; else by time, since nothing can crash in a
    namespace before it was made.
    """
    if recorded_uid is not None:
        return recorded_uid == namespace_uid
    return time_s >= created_s
