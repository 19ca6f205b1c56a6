"""One server of several leads: a Lease (coordination.k8s.io/v1), taken and renewed.

As client-go's leaderelection: a lease is expired when we have watched it unchanged for its whole
duration, by our own clock, so clocks of different machines are never compared.

Not `kubernetes.aio.leaderelection`: it needs the client's generated classes, 80 MiB resident, which
build.spec excludes.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable
from typing import Any

from coredumpd import errors
from coredumpd.kube import api

DURATION_S = 30.0
RENEW_EVERY_S = 8.0
MARGIN_S = 5.0  # a leader stops this long before another may begin
_TIMEOUT_S = 4.0
_log = logging.getLogger(__name__)


class Leader:
    """Takes part in the election. Check `leads` before everything that only the leader may do."""

    def __init__(
        self,
        kube: api.Requests,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._clock = clock
        self._until_s = float("-inf")
        self._seen: tuple[object, float] = (None, clock())

    @property
    def leads(self) -> bool:
        """True only while no other server can believe that it leads."""
        return self._clock() < self._until_s

    async def run(self) -> None:
        """Try to take or renew the lease, for ever."""
        while True:
            led = self.leads
            try:
                await self.step()
            except (errors.Conflict, errors.AlreadyExists):
                pass  # another server was faster; the next look shows which
            except errors.CoredumpdError as error:
                _log.warning("the lease %s cannot be renewed: %s", self._name, error)
            if led != self.leads:
                _log.info("%s", "leading: collecting garbage" if self.leads else "not leading")
            await asyncio.sleep(RENEW_EVERY_S)

    async def step(self) -> None:
        """One look at the lease, and one attempt to take or renew it."""
        asked_s = self._clock()
        path = f"{self._collection}/{self._name}"
        try:
            _, lease = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
        except errors.NotFound:
            fresh = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": self._spec({}),
            }
            await self._kube.request("POST", self._collection, fresh, timeout_s=_TIMEOUT_S)
        else:
            if not self._may_take(lease.get("spec") or {}):
                self._until_s = float("-inf")
                return
            lease["spec"] = self._spec(lease.get("spec") or {})
            await self._kube.request("PUT", path, lease, timeout_s=_TIMEOUT_S)
        self._until_s = asked_s + DURATION_S - MARGIN_S

    async def resign(self) -> None:
        """Give the lease back, so that another server need not wait DURATION_S for it."""
        if not self.leads:
            return
        self._until_s = float("-inf")
        path = f"{self._collection}/{self._name}"
        try:
            _, lease = await self._kube.request("GET", path, timeout_s=_TIMEOUT_S)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._kube.request("PUT", path, lease, timeout_s=_TIMEOUT_S)
        except errors.CoredumpdError as error:
            _log.info("the lease could not be given back, it will expire: %s", error)

    def _may_take(self, spec: dict[str, Any]) -> bool:
        holder = spec.get("holderIdentity")
        now_s = self._clock()
        state = (holder, spec.get("renewTime"))
        if state != self._seen[0]:
            self._seen = (state, now_s)
        expired = now_s - self._seen[1] > float(spec.get("leaseDurationSeconds") or DURATION_S)
        return not holder or holder == self._identity or expired

    def _spec(self, old: dict[str, Any]) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = old.get("holderIdentity") == self._identity
        changes = int(old.get("leaseTransitions") or 0) + (0 if ours or not old else 1)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION_S),
            "acquireTime": (old.get("acquireTime") if ours else None) or now,
            "renewTime": now,
            "leaseTransitions": changes,
        }
