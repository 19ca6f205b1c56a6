"""Events that tell a pod's owner, through `kubectl describe pod`, what became of its crashes.

An Event is a courtesy: one that cannot be written is logged and dropped, and delays nothing.
Repeats raise the count of one Event, and at most one request for it leaves this process in
REPEAT_INTERVAL_S: a crash loop must not become a storm on etcd.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import hashlib
import logging
import time
import urllib.parse
from typing import Any

from coredumpd import errors
from coredumpd.kube import api as apis

_log = logging.getLogger(__name__)
COMPONENT = "coredumpd"
MESSAGE_CHARS_MAX = 1024  # core/v1 Event validation
EVENT_TIMEOUT_S = 3.0
REPEAT_INTERVAL_S = 10.0
REMEMBERED_MAX = 1000  # Events whose count we know; the oldest is forgotten and counts anew


class Events:
    """Writes core/v1 Events as `source`, a node or a server; without an API it does nothing."""

    def __init__(self, api: apis.Requests | None, source: str | None) -> None:
        self._api = api
        self._source = source
        self._said: collections.OrderedDict[str, _Said] = collections.OrderedDict()

    async def run(self) -> None:
        """Say, from time to time, what repeats were held back. For ever."""
        while True:
            await asyncio.sleep(REPEAT_INTERVAL_S)
            for said in [said for said in self._said.values() if said.held is not None]:
                await self._send(said)

    async def pod(self, namespace: str, name: str, uid: str, reason: str, message: str) -> None:
        """Something about a pod that is no crash, such as an annotation that cannot be obeyed."""
        named = {"namespace": namespace, "name": name, "uid": uid}
        about = {"apiVersion": "v1", "kind": "Pod"} | named
        await self.write(about, reason, message, message)

    async def write(self, about: dict[str, Any], reason: str, message: str, same: str) -> None:
        """An Event about an object; those with the same `reason` and `same` are repeats of one."""
        if self._api is None:
            return
        event = made(about, reason, message, same, self._source)
        name = event["metadata"]["name"]
        said = self._said.setdefault(name, _Said())
        self._said.move_to_end(name)
        if len(self._said) > REMEMBERED_MAX:
            self._said.popitem(last=False)
        said.count += 1
        said.held = event
        if time.monotonic() - said.sent_s >= REPEAT_INTERVAL_S:
            await self._send(said)

    async def _send(self, said: _Said) -> None:
        """POST the first of its kind, PATCH the repeats. Never raises: an Event is a courtesy."""
        event, said.held = said.held, None
        if event is None or self._api is None:
            return
        said.sent_s = time.monotonic()
        name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{urllib.parse.quote(namespace, safe='')}/events"
        try:
            try:
                first = event | {"count": said.count}
                await self._api.request("POST", path, first, timeout_s=EVENT_TIMEOUT_S)
            except errors.AlreadyExists:
                # From an agent before this one we know only that there was one: to ask for the
                # count would take the right to read everybody's Events.
                said.count = max(said.count, 2)
                again = {field: event[field] for field in ("lastTimestamp", "message")}
                await self._api.request(
                    "PATCH",
                    f"{path}/{name}",
                    again | {"count": said.count},
                    content_type="application/merge-patch+json",
                    timeout_s=EVENT_TIMEOUT_S,
                )
        except errors.CoredumpdError as error:
            about = event["involvedObject"]["name"]
            _log.warning("the event %s on %s is not written: %s", event["reason"], about, error)


class _Said:
    """One Event: how often, when last, and the repeat that is held back."""

    def __init__(self) -> None:
        self.count = 0
        self.sent_s = float("-inf")
        self.held: dict[str, Any] | None = None


def made(
    about: dict[str, Any], reason: str, message: str, same: str, source: str | None
) -> dict[str, Any]:
    """A core/v1 Event; its name is the same for the same `about`, `reason` and `same`."""
    digest = hashlib.sha256(f"{about.get('uid')} {reason} {same}".encode()).hexdigest()[:16]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about['name'][:230]}.{digest}",
            "namespace": about.get("namespace", "default"),
        },
        "involvedObject": about,
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
