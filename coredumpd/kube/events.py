"""Events on Kubernetes objects; a pod's owner sees its pod's by `kubectl describe pod`.

An Event is a courtesy: one that cannot be written is logged and dropped, and delays nothing.
Repeats raise the count of one Event, and this process sends at most one request for it in
`repeat_interval_s`: a crash loop must not become a storm on etcd.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import urllib.parse
from collections.abc import MutableMapping
from typing import Any

from coredumpd import cache, errors, units
from coredumpd.formats import pod_reference
from coredumpd.kube import api

_log = logging.getLogger(__name__)
COMPONENT = "coredumpd"
MESSAGE_CHARS_MAX = 1024  # core/v1 Event validation
EVENT_TIMEOUT_S = 3.0
REPEAT_INTERVAL_S = 10.0
REMEMBERED_MAX = 1000  # Events whose count is known; one that is forgotten counts anew


class Events:
    """Writes core/v1 Events as `source`, a node or a server; without an API it does nothing."""

    def __init__(
        self,
        kube: api.Requests | None,
        source: str | None,
        *,
        repeat_interval_s: float = REPEAT_INTERVAL_S,
    ) -> None:
        self._kube = kube
        self._source = source
        self._interval_s = repeat_interval_s
        self._series: MutableMapping[str, Series] = cache.recent(REMEMBERED_MAX)  # by name
        self._held: set[str] = set()  # names of Events that have a repeat to send

    async def run(self) -> None:
        """Send, from time to time, the repeats that were held back. Never returns."""
        while True:
            await asyncio.sleep(self._interval_s)
            held, self._held = self._held, set()
            for name in sorted(held):
                series = self._series.get(name)
                if series is not None:
                    await self._send(series)

    async def pod(self, namespace: str, name: str, uid: str, reason: str, message: str) -> None:
        """An Event on a pod that is about no crash, such as an annotation that cannot be obeyed."""
        await self.write(pod_reference.make(namespace, name, uid), reason, message, message)

    async def write(
        self,
        regarding: dict[str, Any],
        reason: str,
        message: str,
        same: str,
        source: str | None = None,
    ) -> None:
        """An Event on an object; those with equal `reason` and `same` are repeats of one.

        `source`: who saw it, if that is not this process's own.
        """
        if self._kube is None:
            return
        event = make(regarding, reason, message, same, source or self._source)
        name = event["metadata"]["name"]
        series = self._series.setdefault(name, Series(same))
        series.count += 1
        series.unsent = event
        if time.monotonic() - series.sent_s >= self._interval_s:
            self._held.discard(name)
            await self._send(series)
        else:
            self._held.add(name)

    async def _send(self, series: Series) -> None:
        """POST the first of a series, PATCH its repeats. Never raises: an Event is a courtesy."""
        event, series.unsent = series.unsent, None
        if event is None or self._kube is None:
            return
        series.sent_s = time.monotonic()
        try:
            series.count = await self._deliver(self._kube, event, series)
        except errors.CoredumpdError as error:
            regarding = event["involvedObject"]["name"]
            _log.warning("no event %s on %s is written: %s", event["reason"], regarding, error)

    async def _deliver(self, kube: api.Requests, event: dict[str, Any], series: Series) -> int:
        """Send one Event on its way; the count that it has now. Raises a CoredumpdError."""
        return await put(kube, event, series.count)


class Series:
    """One Event and its repeats: how many, when one was last sent, the one that is not sent yet.

    `same` is equal for its repeats.
    """

    def __init__(self, same: str) -> None:
        self.same = same
        self.count = 0
        self.sent_s = float("-inf")
        self.unsent: dict[str, Any] | None = None


async def put(kube: api.Requests, event: dict[str, Any], count: int) -> int:
    """Write an Event that has occurred `count` times, or its repeat; its count afterwards.

    Raises a CoredumpdError.
    """
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    path = f"/api/v1/namespaces/{urllib.parse.quote(namespace, safe='')}/events"
    try:
        await kube.request("POST", path, event | {"count": count}, timeout_s=EVENT_TIMEOUT_S)
    except errors.AlreadyExists:
        # A process before this one may have written it. How often, we do not ask: that would take
        # the right to read everybody's Events.
        count = max(count, 2)
        repeat = {field: event[field] for field in ("lastTimestamp", "message")}
        await kube.request(
            "PATCH",
            f"{path}/{name}",
            repeat | {"count": count},
            headers=api.MERGE_PATCH,
            timeout_s=EVENT_TIMEOUT_S,
        )
    return count


def make(
    regarding: dict[str, Any], reason: str, message: str, same: str, source: str | None
) -> dict[str, Any]:
    """A core/v1 Event; equal `regarding`, `reason` and `same` make equal names."""
    digest = hashlib.sha256(f"{regarding.get('uid')} {reason} {same}".encode()).hexdigest()[:16]
    now = units.timestamp()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{regarding['name'][:230]}.{digest}",
            "namespace": regarding.get("namespace", "default"),
        },
        "involvedObject": regarding,
        "reason": reason,
        "message": message[:MESSAGE_CHARS_MAX],
        "type": "Warning",
        "source": {"component": COMPONENT, "host": source or ""},
        "reportingComponent": COMPONENT,
        "reportingInstance": source or "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
