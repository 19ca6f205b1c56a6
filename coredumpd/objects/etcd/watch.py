"""A watch of etcd: one connection, read by one thread, resumed after a break.

Tested in: tests/integration/objects/test_failures.py
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3

from coredumpd import errors
from coredumpd.objects import interface
from coredumpd.objects.etcd import epoch, gateway

_MESSAGE_BYTES_MAX = 16 * 1024 * 1024  # etcd splits messages above its request limit, 1.5 MiB
_QUEUED_MAX = 4  # messages; behind a full queue, etcd waits
_PUT_POLL_S = 0.5
SILENCE_MAX_S = 30.0  # then the member is asked whether it still answers


class EtcdWatch:
    """See `interface.Watch`. Watches all our keys and keeps those under `prefix`.

    So any write of ours, such as the compactor's, moves an idle watch forward: it does not fall
    behind the compaction, and reconnecting does not raise Expired.
    """

    def __init__(
        self,
        etcd: gateway.Gateway,
        epochs: epoch.Epochs,
        root: str,
        prefix: str,
        after: int,
        silence_max_s: float = SILENCE_MAX_S,
    ) -> None:
        self._etcd = etcd
        self._epochs = epochs
        self._base: int | None = None  # of the epoch in which this watch began
        self._silence_max_s = silence_max_s
        self._root = root
        self._prefix = prefix
        self._after = after
        self._stream: _Stream | None = None
        self._fragments: list[Mapping[str, Any]] = []
        self._closed = False
        self._last_message_s = 0.0

    @property
    def revision(self) -> int:
        """See `interface.Watch.revision`."""
        return self._after

    def next(self, timeout_s: float) -> Sequence[interface.Event]:
        """See `interface.Watch.next`."""
        deadline = time.monotonic() + timeout_s
        reopened = False
        while not self._closed:
            if self._stream is None:
                self._stream = self._open()
            try:
                message = self._stream.messages.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._check_silence(self._stream)
                return ()
            self._last_message_s = time.monotonic()
            if isinstance(message, _End):
                self._drop()
                if reopened:
                    raise errors.Unavailable(f"the watch of etcd broke: {message.reason}")
                reopened = True
                continue
            if events := self._take(message):
                return events
        return ()

    def close(self) -> None:
        """See `interface.Watch.close`."""
        self._closed = True
        self._drop()

    def _open(self) -> _Stream:
        base = self._epochs.ask(lambda _: ([], [])).base
        if self._base not in (None, base) or self._after < base:
            raise errors.Expired(f"revision {self._after} is not of this etcd; list again")
        self._base = base

        def encode(text: str) -> str:
            return base64.b64encode(text.encode()).decode()

        create_request = {
            "key": encode(self._root + "/"),
            "range_end": encode(interface.after_prefix(self._root + "/")),
            "start_revision": str(self._after - base + 1),
            "prev_kv": True,
            "progress_notify": True,
            "fragment": True,
        }
        stream = _Stream(*self._etcd.stream("watch", {"create_request": create_request}))
        self._last_message_s = time.monotonic()
        return stream

    def _check_silence(self, stream: _Stream) -> None:
        """Ask a silent member something: one that hangs keeps the connection and sends nothing."""
        now = time.monotonic()
        if now - self._last_message_s > self._silence_max_s:
            self._last_message_s = now
            if not self._etcd.answers(stream.endpoint):
                self._drop()

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        self._fragments = []
        if stream is not None:
            stream.close()

    def _take(self, line: bytes) -> Sequence[interface.Event]:
        """The events under our prefix of one message, which may be none."""
        try:
            result = json.loads(line)["result"]
        except (ValueError, KeyError) as error:
            self._drop()
            raise errors.Unavailable(f"etcd ends the watch: {line[:300]!r}") from error
        if result.get("canceled"):
            self._drop()
            if int(result.get("compact_revision", 0)):
                raise errors.Expired(f"revision {self._after} has been compacted; list again")
            raise errors.Unavailable(f"etcd refuses the watch: {result.get('cancel_reason')}")
        if result.get("created"):
            self._check_created(int(result["header"]["revision"]))
            return ()
        self._fragments += result.get("events", ())
        rest: list[Mapping[str, Any]] = []
        if result.get("fragment"):  # events of its last revision may follow in the next one
            last = self._fragments[-1]["kv"]["mod_revision"]
            rest = [event for event in self._fragments if event["kv"]["mod_revision"] == last]
        events = self._fragments[: len(self._fragments) - len(rest)]
        self._fragments = rest
        if not events and rest:
            return ()
        # A message without events reports progress: no event is missing up to its revision.
        last = events[-1]["kv"]["mod_revision"] if events else result["header"]["revision"]
        below_prefix = [event for event in map(self._event, events) if event is not None]
        self._after = max(self._after, (self._base or 0) + int(last))
        return below_prefix

    def _check_created(self, revision: int) -> None:
        """A watch of a revision to come would wait in silence: etcd was set up anew meanwhile."""
        if (self._base or 0) + revision < self._after:
            self._drop()
            raise errors.Expired(f"revision {self._after} is not of this etcd; list again")

    def _event(self, event: Mapping[str, Any]) -> interface.Event | None:
        base = self._base or 0
        kv, before = event["kv"], event.get("prev_kv")
        raw = base64.b64decode(kv["key"])
        if self._epochs.is_of(base, raw):
            self._drop()
            raise errors.Expired("another epoch of etcd has begun; list again")
        key = raw.decode("utf-8", "surrogateescape").removeprefix(self._root)
        if not key.startswith(self._prefix):
            return None
        revision = base + int(kv["mod_revision"])
        previous = None if before is None else base64.b64decode(before.get("value", ""))
        if kv.get("create_revision") == kv["mod_revision"]:
            return interface.Event(
                "ADDED", key, base64.b64decode(kv.get("value", "")), revision, None
            )
        if previous is None:
            self._drop()
            raise errors.Expired(f"revision {revision - 1} has been compacted; list again")
        if event.get("type") == "DELETE":
            return interface.Event("DELETED", key, previous, revision, previous)
        value = base64.b64decode(kv.get("value", ""))
        return interface.Event("MODIFIED", key, value, revision, previous)


class _End:
    """The last message of a stream: why it has ended."""

    def __init__(self, reason: object) -> None:
        self.reason = reason


class _Stream:
    """Lines of a streaming answer, in `messages`, until an `_End`."""

    def __init__(self, endpoint: str, response: urllib3.BaseHTTPResponse) -> None:
        self.endpoint = endpoint
        self.messages: queue.Queue[bytes | _End] = queue.Queue(_QUEUED_MAX)
        self._response = response
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="etcd-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection and the thread that reads it, and wake the reader of `messages`."""
        self._closed.set()
        with contextlib.suppress(queue.Full):
            self.messages.put_nowait(_End("closed"))
        with contextlib.suppress(RuntimeError, ValueError):  # it has ended by itself
            self._response.shutdown()

    def _read(self) -> None:
        reason: object = "closed by etcd"
        rest = b""
        try:
            for chunk in self._response.read_chunked():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._put(line)
                if self._closed.is_set():
                    break
                if len(rest) > _MESSAGE_BYTES_MAX:
                    reason = f"a message of more than {_MESSAGE_BYTES_MAX} bytes"
                    break
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            reason = error
        finally:
            self._response.close()
        self._put(_End(reason))

    def _put(self, message: bytes | _End) -> None:
        while message and not self._closed.is_set():
            try:
                return self.messages.put(message, timeout=_PUT_POLL_S)
            except queue.Full:
                continue
