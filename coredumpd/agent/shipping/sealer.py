"""Cores are sealed on the node, before they leave it, where their namespace wants that.

A namespace's annotation `coredump.fujitsu.com/encrypt-to` names a ConfigMap of it; whoever writes
that chooses the keys. It fails closed: while it is not known whether, or to whom, a core is to be
sealed, it stays in the spool.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import time
import urllib.parse
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

from coredumpd import aiokit, durable, errors, sealing
from coredumpd.agent import events, metrics
from coredumpd.agent.shipping import attribution, shipper
from coredumpd.agent.tenants import policy_file
from coredumpd.formats import annotations as annotated
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.gzipio import check, stored
from coredumpd.kube import api as apis

KEY = "recipients"  # of the ConfigMap
MEMBER_BYTES = 1024 * 1024  # of the age file, in each gzip member; two or three are in memory
TELL_AGAIN_S = 1800.0  # an Event is gone after an hour, the problem may not be
TOLD_MAX = 1000
_log = logging.getLogger(__name__)


class Tenants(Protocol):
    """What is known of namespaces; `tenants.Watcher` is one."""

    @property
    def tenants(self) -> policy_file.Tenants: ...

    def said_by(self, namespace: str) -> Mapping[str, str] | None: ...


class _Gone(Exception):
    """The namespace that wanted sealing is no more, and so are its keys."""


class Sealer:
    """See `shipper.Sealer`."""

    def __init__(
        self,
        api: apis.Requests,
        known: Tenants,
        teller: events.Events,
        counters: metrics.Metrics,
    ) -> None:
        self._api = api
        self._known = known
        self._events = teller
        self._metrics = counters
        self._told_s: collections.OrderedDict[tuple[str, str], float] = collections.OrderedDict()

    async def seal(
        self, entry: shipper.Entry, crash: records.CrashRecord
    ) -> records.CrashRecord | None:
        """See `shipper.Sealer.seal`."""
        if crash.sealed is not None or crash.raw["namespace"] == names.HOST_NAMESPACE:
            return crash
        try:
            name = await self._config_map(crash.raw["namespace"])
            if name is None:
                return crash
            to = await self._recipients(crash, name)
            sealed = await aiokit.call(into_entry, entry, crash, to)
        except _Gone:
            _log.warning("%s can never be sealed: its namespace is gone", crash.id)
            return None
        except (errors.CannotSeal, errors.StorageError):
            self._metrics.seal_failures.inc()
            raise
        self._metrics.sealed.inc()
        _log.info("sealed %s to %s", crash.id, ", ".join(to.names))
        return sealed

    async def _config_map(self, namespace: str) -> str | None:
        """The ConfigMap with the recipients; None where cores stay plain. Raises CannotSeal.

        Of a namespace that no watch has told of, one is asked for: it is new, or we are.
        """
        said = self._known.said_by(namespace)
        if said is not None:
            return said.get(annotated.ENCRYPT_TO)
        before = self._known.tenants.encryptTo
        try:
            found = await self._get(f"/api/v1/namespaces/{_quoted(namespace)}")
        except errors.CoredumpdError as error:  # away, or the namespace is no more
            if before is None:
                rule = f"not known yet if namespace {namespace} wants its dumps encrypted"
                raise errors.CannotSeal(f"{rule}: {error}") from error
            return before.get(namespace)
        return annotated.ours(found["metadata"]).get(annotated.ENCRYPT_TO)

    async def _recipients(self, crash: records.CrashRecord, name: str) -> sealing.Recipients:
        """Who may open it. Raises CannotSeal, having told the pod what is wrong, or _Gone."""
        namespace = crash.raw["namespace"]
        problem = annotated.no_config_map(name)
        if problem is None:
            what = f"ConfigMap {namespace}/{name}, named by annotation {annotated.PREFIX}"
            what += f"{annotated.ENCRYPT_TO},"
            path = f"/api/v1/namespaces/{_quoted(namespace)}"
            try:
                found = await self._get(f"{path}/configmaps/{_quoted(name)}")
                return sealing.recipients((found.get("data") or {}).get(KEY) or "")
            except errors.Invalid as error:
                problem = f"{what} key {KEY}: {error.message}"
            except errors.NotFound:
                await self._require(path)
                problem = f"{what} is not there"
            except errors.Forbidden:
                problem = f"{what} may not be read by the agent: only coredump-recipients may"
            except errors.CoredumpdError as error:
                raise errors.CannotSeal(f"{what} cannot be read: {error}") from error
        await self._tell(crash, problem)
        raise errors.CannotSeal(problem)

    async def _require(self, namespace: str) -> None:
        """Raises _Gone if there is no such namespace any more."""
        try:
            await self._get(namespace)
        except errors.NotFound as error:
            raise _Gone from error
        except errors.CoredumpdError as error:
            raise errors.CannotSeal(str(error)) from error

    async def _tell(self, crash: records.CrashRecord, problem: str) -> None:
        """An Event on the pod; the same about the same pod only once in a while."""
        namespace, name, uid = (crash.raw[part] for part in ("namespace", "podName", "podUID"))
        told, now_s = (uid, problem), time.monotonic()
        if not name or now_s - self._told_s.get(told, float("-inf")) < TELL_AGAIN_S:
            return
        self._told_s[told] = now_s
        if len(self._told_s) > TOLD_MAX:
            self._told_s.popitem(last=False)
        message = f"{problem}; until then the core dump stays, not encrypted, on its node"
        await self._events.pod(namespace, name, uid, events.POLICY, message)

    async def _get(self, path: str) -> Any:
        _, found = await self._api.request("GET", path, timeout_s=attribution.CONFIRM_TIMEOUT_S)
        return found


def into_entry(
    entry: shipper.Entry, crash: records.CrashRecord, to: sealing.Recipients
) -> records.CrashRecord:
    """Seal the entry's core; its record from then on. Blocks.

    Raises BadRecord for a damaged core, CannotSeal, StorageError; the entry is then as it was.
    """
    with contextlib.closing(entry.open_core()) as core, entry.new_sealed() as file:
        members = Members(file)
        try:
            sealing.seal(check.checked(core, crash), members, to)
            members.end()
        except OSError as error:
            raise errors.StorageError(f"cannot seal {crash.id}: {error.strerror}") from error
        result = record_of(crash, members, to)
        entry.put_sealed(result, file)
    return result


def record_of(
    crash: records.CrashRecord, members: Members, to: sealing.Recipients
) -> records.CrashRecord:
    """The record of the sealed core: `core.size` and `crc32` go on to tell what the kernel sent."""
    sealed = {
        "size": members.size,
        "crc32": f"{members.crc32:08x}",
        "members": members.count,
        "to": list(to.names),
    }
    core = {**crash.raw["core"], "storedSize": members.stored_size, "sealed": sealed}
    return records.CrashRecord({**crash.raw, "core": core})


class Members:
    """What is written, as gzip members of stored blocks: every reader of core.gz takes them."""

    def __init__(self, sink: BinaryIO, member_bytes: int = MEMBER_BYTES) -> None:
        """`sink` is not buffered: whoever closes it must not fail again."""
        self._sink = sink
        self._member_bytes = member_bytes
        self._waiting = bytearray()
        self.size = self.crc32 = self.count = self.stored_size = 0

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        self._waiting += data
        while len(self._waiting) >= self._member_bytes:
            self._put(bytes(self._waiting[: self._member_bytes]))
            del self._waiting[: self._member_bytes]

    def end(self) -> None:
        """The rest. Raises OSError."""
        if self._waiting or not self.count:
            self._put(bytes(self._waiting))
            self._waiting.clear()

    def _put(self, data: bytes) -> None:
        made = stored.stored(data)
        durable.write_all(self._sink.fileno(), made)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.count += 1
        self.stored_size += len(made)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
