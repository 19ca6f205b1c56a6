"""Bounds of the API objects that tenants make.

Tested in: tests/unit/settings/test_sections.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.settings import values


@dataclasses.dataclass(frozen=True)
class ObjectLimitsSettings:
    """How many CoredumpEndpoint objects there may be, and how large. Refused: 403, or 413.

    A namespace gets one more, or a larger one, only while as much is free as it has already.
    """

    objectSize: int = values.setting(
        "512Ki", *values.SIZE, "most bytes of one object as JSON; from 1Ki to 1Mi"
    )
    namespaceObjects: int = values.setting(
        1000, *values.integer(1, 1_000_000), "most objects of one namespace"
    )
    namespaceSize: int = values.setting(
        "16Mi", *values.SIZE, "most bytes of all objects of one namespace"
    )
    totalObjects: int = values.setting(
        100_000, *values.integer(1, 10_000_000), "most objects of all namespaces together"
    )
    totalSize: int = values.setting(
        "256Mi", *values.SIZE, "most bytes of all objects of all namespaces together"
    )
    historySize: int = values.setting(
        "64Mi",
        *values.SIZE,
        "most bytes of earlier states that are kept for watches and `continue` tokens; who"
        " comes later than that gets 410",
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Each field that contradicts another one."""
        if not 1024 <= self.objectSize <= 1024 * 1024:
            rule = "must be from 1Ki to 1Mi"
            yield errors.Cause("objectLimits.objectSize", self.objectSize, rule)
        if not self.objectSize <= self.namespaceSize <= self.totalSize:
            rule = "must be from objectSize to totalSize"
            yield errors.Cause("objectLimits.namespaceSize", self.namespaceSize, rule)
        if self.historySize < 2 * self.objectSize:
            rule = "must be at least twice objectSize"
            yield errors.Cause("objectLimits.historySize", self.historySize, rule)
