"""Objects in etcd 3.4 or later: the engine for several replicas.

A key is stored below the URL's prefix as it is; our revision is etcd's plus the base of its
`epoch`. Compare-and-swap is a transaction on the key's `mod_revision`
(https://etcd.io/docs/v3.6/learning/api/#transaction).

Tested in: tests/contract/objects/test_engine.py
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from coredumpd import errors
from coredumpd.objects import interface
from coredumpd.objects.etcd import answers, epoch, gateway
from coredumpd.objects.etcd import watch as etcd_watch
from coredumpd.settings import backends


@dataclasses.dataclass(frozen=True)
class Limits:
    """Waits of a request and of a silent watch, and the keys of one answer."""

    answer_timeout_s: float = gateway.ANSWER_TIMEOUT_S
    watch_silence_max_s: float = etcd_watch.SILENCE_MAX_S
    page: int = 32  # a value may have half a mebibyte, and an answer is parsed whole


LIMITS = Limits()
_FIRST_KEYS = 2
_NEVER = 2**62  # a revision that no key has


def open(url: str, access: backends.EtcdSettings, limits: Limits = LIMITS) -> EtcdEngine:
    """The engine for a URL that `values.objects_url` accepts. Raises SettingsError."""
    scheme, _, rest = url.partition("://")
    hosts, _, prefix = rest.partition("/")
    plain = scheme == "etcd+http"
    if plain and access != backends.EtcdSettings():
        cause = errors.Cause("objects", url, "must be etcd:// where the section etcd is used")
        raise errors.SettingsError("a password or certificate needs TLS", (cause,))
    endpoints = [f"http{'' if plain else 's'}://{host}" for host in hosts.split(",")]
    etcd = gateway.Gateway(endpoints, access, limits.answer_timeout_s)
    return EtcdEngine(etcd, "/" + prefix.rstrip("/"), limits)


class EtcdEngine:
    """See `interface.Engine`."""

    def __init__(self, etcd: gateway.Gateway, root: str, limits: Limits = LIMITS) -> None:
        self._etcd = etcd
        self._limits = limits
        self._root = root
        self._epochs = epoch.Epochs(etcd, root)

    def revision(self) -> int:
        """See `interface.Engine.revision`."""
        return self._read("/")[1]

    def create(self, key: str, value: bytes) -> int:
        """See `interface.Engine.create`."""
        revision = self._write(key, 0, value)
        if revision is None:
            raise errors.AlreadyExists(f"{key} already exists")
        return revision

    def get(self, key: str) -> interface.Item | None:
        """See `interface.Engine.get`."""
        return self._read(key)[0]

    def check(self, revision: int) -> int:
        """See `interface.Engine.check`."""
        answer = self._range({"key": self._encode("/"), "count_only": True}, revision)
        return answer.revision

    def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, size_max: int = 0
    ) -> interface.Page:
        """See `interface.Engine.list`."""
        items: list[interface.Item] = []
        total, most = 0, self._limits.page
        if size_max:  # etcd bounds an answer by keys alone, so ask for few of them at first
            most = min(most, _FIRST_KEYS)
        start = after + "\0" if after >= prefix else prefix
        end = self._encode(interface.after_prefix(prefix))
        while True:
            size = min(most, limit - len(items)) if limit else most
            most = min(self._limits.page, 4 * most)
            body = {"key": self._encode(start), "range_end": end, "limit": str(size)}
            answer = self._range(body, revision)
            revision = revision or answer.revision
            result = answer.results[0]["response_range"]
            page = [self._item(kv, answer.base) for kv in result.get("kvs", ())]
            items += page
            total += sum(len(item.value) for item in page)
            remaining = int(result.get("count", 0)) - len(page)
            if remaining <= 0 or not page:
                return interface.Page(items, revision)
            if len(items) == limit or (size_max and total >= size_max):
                counted = remaining if len(items) == limit else 0
                return interface.Page(items, revision, counted, True)
            start = page[-1].key + "\0"

    def update(self, key: str, value: bytes, revision: int) -> int:
        """See `interface.Engine.update`."""
        return self._swap(key, revision, value)

    def delete(self, key: str, revision: int) -> int:
        """See `interface.Engine.delete`."""
        return self._swap(key, revision, None)

    def watch(self, prefix: str, after: int) -> etcd_watch.EtcdWatch:
        """See `interface.Engine.watch`. Takes a connection and a thread, however many keys."""
        silence_max_s = self._limits.watch_silence_max_s
        return etcd_watch.EtcdWatch(
            self._etcd, self._epochs, self._root, prefix, after, silence_max_s
        )

    def compact(self, revision: int) -> None:
        """See `interface.Engine.compact`. Compacts the whole etcd: it has no other kind."""
        answer = self._range({"key": self._encode("/"), "count_only": True}, 0)
        if not answer.base < revision <= answer.revision:
            return
        # The contract: compacting below an older or a future revision does nothing.
        with contextlib.suppress(errors.Expired, errors.TooLargeResourceVersion):
            self._etcd.ask("kv/compaction", {"revision": str(revision - answer.base)})

    def close(self) -> None:
        """See `interface.Engine.close`."""
        self._etcd.close()

    def _swap(self, key: str, revision: int, value: bytes | None) -> int:
        written = self._write(key, revision, value)
        if written is None:
            raise errors.Conflict(f"{key} has been modified; it is not at revision {revision}")
        return written

    def _write(self, key: str, expected: int, value: bytes | None) -> int | None:
        """Put, or delete when `value` is None. None when the key is not at `expected` (0: absent).

        A write whose answer was lost is not repeated: the key is read again.
        """
        encoded = self._encode(key)
        if value is None:
            change: dict[str, Any] = {"request_delete_range": {"key": encoded}}
        else:
            put = {"key": encoded, "value": base64.b64encode(value).decode()}
            change = {"request_put": put}

        def build(base: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            modified = expected and (expected - base if expected > base else _NEVER)
            return [{"key": encoded, "target": "MOD", "mod_revision": str(modified)}], [change]

        try:
            answer = self._epochs.ask(build, repeatable=False)
        except answers.Lost as lost:
            return self._settle(key, expected, value, lost)
        return answer.revision if answer.succeeded else None

    def _settle(
        self, key: str, expected: int, value: bytes | None, lost: answers.Lost
    ) -> int | None:
        item, now = self._read(key)
        if item is None and value is None:
            return now
        if item is not None and item.value == value and item.revision != expected:
            return item.revision
        if expected == (0 if item is None else item.revision):
            raise errors.Unavailable(f"{key} may be written yet, look again: {lost}") from lost
        return None

    def _read(self, key: str) -> tuple[interface.Item | None, int]:
        """The key, and the revision of the last write to anything."""
        answer = self._range({"key": self._encode(key)}, 0)
        kvs = answer.results[0]["response_range"].get("kvs")
        return self._item(kvs[0], answer.base) if kvs else None, answer.revision

    def _range(self, request: Mapping[str, Any], revision: int) -> epoch.Answer:
        """The answer to a range request as of `revision` (0: now). Raises as `check`."""

        def build(base: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            if revision and revision <= base:
                raise errors.Expired(f"revision {revision} is not of this etcd; list again")
            at = {"revision": str(revision - base)} if revision else {}
            return [], [{"request_range": {**request, **at}}]

        try:
            return self._epochs.ask(build)
        except errors.TooLargeResourceVersion as error:
            now = self._epochs.ask(lambda _: ([], []))
            raise errors.TooLargeResourceVersion(revision, now.revision) from error

    def _item(self, kv: Mapping[str, str], base: int) -> interface.Item:
        key = base64.b64decode(kv["key"]).decode("utf-8", "surrogateescape")
        value = base64.b64decode(kv.get("value", ""))
        revision = base + int(kv["mod_revision"])
        return interface.Item(key.removeprefix(self._root), value, revision)

    def _encode(self, key: str) -> str:
        return base64.b64encode((self._root + key).encode("utf-8", "surrogateescape")).decode()
