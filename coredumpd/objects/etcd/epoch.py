"""The epoch of an etcd: what is added to its revisions, so that ours never repeat.

etcd counts from 1 again when it is set up anew, and goes back when a snapshot is restored. So a key
of ours holds the first revision of this epoch (`epochs`) and the id of its cluster. Every request
is a transaction that holds only while the key says what this server believes, so neither a read nor
a write is ever answered with a revision of another epoch.

Tested in: tests/integration/objects/test_epochs.py
"""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from coredumpd import errors
from coredumpd.objects import epochs
from coredumpd.objects.etcd import gateway

KEY = "/epoch"
_TRIES_MAX = 5
Build = Callable[[int], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Our revisions are etcd's plus `base`; `value` is the key's, base64, for comparisons."""

    base: int
    cluster: str
    value: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to a transaction; `succeeded` is of its comparisons."""

    base: int
    revision: int  # ours, of the last write to anything
    succeeded: bool
    results: list[dict[str, Any]]


class Epochs:
    """Sends transactions of the present epoch. Thread-safe."""

    def __init__(self, etcd: gateway.Gateway, root: str) -> None:
        self._etcd = etcd
        self._key = base64.b64encode((root + KEY).encode()).decode()
        self._lock = threading.Lock()
        self._epoch: Epoch | None = None
        self._highest = 0  # etcd's revision, of this epoch

    def ask(self, build: Build, *, repeatable: bool = True) -> Answer:
        """The answer to `build(base)`: comparisons, and requests for when they hold.

        `build` is called again with another base when the epoch has changed. Raises as
        `Gateway.ask`.
        """
        for _ in range(_TRIES_MAX):
            epoch, highest = self._present(), self._highest
            compare, requests = build(epoch.base)
            body = {
                "compare": [{"key": self._key, "target": "VALUE", "value": epoch.value}, *compare],
                "success": requests,
                "failure": [{"request_range": {"key": self._key}}],
            }
            answer = self._etcd.ask("kv/txn", body, repeatable=repeatable)
            succeeded, results = bool(answer.get("succeeded")), answer.get("responses", [])
            if not succeeded and _value(results[0]["response_range"]) != epoch.value:
                self._forget(epoch)
                continue
            header = answer["header"]
            revision = int(header["revision"])
            if header.get("cluster_id") != epoch.cluster or revision < highest:
                epoch = self._begin_another(epoch)  # a snapshot was restored
                if not succeeded or repeatable:
                    continue
            with self._lock:
                if self._epoch == epoch:
                    self._highest = max(self._highest, revision)
            return Answer(epoch.base, epoch.base + revision, succeeded, results)
        raise errors.Unavailable("the epoch of etcd changes again and again")

    def is_of(self, base: int, key: bytes) -> bool:
        """Does an event of `key`, in a watch that began with `base`, end the epoch?"""
        return base64.b64encode(key).decode() == self._key and self._present().base != base

    def _present(self) -> Epoch:
        with self._lock:
            epoch = self._epoch
        return epoch or self._agree(None)

    def _forget(self, epoch: Epoch) -> None:
        with self._lock:
            if self._epoch == epoch:
                self._epoch = None

    def _begin_another(self, old: Epoch) -> Epoch:
        """The epoch after `old`, of this server or of a replica that noticed earlier."""
        self._forget(old)
        return self._agree(old)

    def _agree(self, old: Epoch | None) -> Epoch:
        """The epoch that etcd has now, or a new one when that is `old` or of another cluster."""
        for _ in range(_TRIES_MAX):
            answer = self._etcd.ask("kv/range", {"key": self._key})
            cluster = answer["header"].get("cluster_id", "")
            value = _value(answer)
            epoch = None if value is None else _parse(value)
            if epoch is None or epoch.cluster != cluster or epoch == old:
                last = 0 if epoch is None else epoch.base + max(self._highest, _revision(answer))
                epoch = self._write(answer, cluster, epochs.start(last))
                if epoch is None:
                    continue  # a replica was quicker
            with self._lock:
                self._epoch, self._highest = epoch, 0
            return epoch
        raise errors.Unavailable("the epoch of etcd changes again and again")

    def _write(self, answer: Mapping[str, Any], cluster: str, base: int) -> Epoch | None:
        kvs = answer.get("kvs")
        data = json.dumps({"base": base, "cluster": cluster}, sort_keys=True).encode()
        epoch = Epoch(base, cluster, base64.b64encode(data).decode())
        modified = kvs[0]["mod_revision"] if kvs else "0"
        body = {
            "compare": [{"key": self._key, "target": "MOD", "mod_revision": modified}],
            "success": [{"request_put": {"key": self._key, "value": epoch.value}}],
        }
        return epoch if self._etcd.ask("kv/txn", body).get("succeeded") else None


def _parse(value: str) -> Epoch | None:
    """None for a value that this module did not write: it is replaced."""
    try:
        document = json.loads(base64.b64decode(value))
        return Epoch(int(document["base"]), str(document["cluster"]), value)
    except (ValueError, KeyError, TypeError):
        return None


def _value(answer: Mapping[str, Any]) -> str | None:
    kvs = answer.get("kvs")
    return str(kvs[0].get("value", "")) if kvs else None


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])
