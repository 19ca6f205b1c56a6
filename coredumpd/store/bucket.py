"""A store in a bucket: S3 and what speaks it, GCS, Azure.

The keys are a directory store's paths: `<prefix>/<namespace>/<podUID>/<container>/<id>/` with
`core.gz` and `meta.json`. A dump is there when its meta.json is: that object is written last, on
the condition that there is none, and deleted first. A core without one is nobody's dump; it is
overwritten by the next try, or found by `coredumpd store check`.

A multipart upload cannot be conditional. So two different dumps sent under one key at the same
moment could mix; a key holds second, pid and a nonce, and every core is verified again once its
record is there.
"""

from __future__ import annotations

import collections
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator
from concurrent import futures
from typing import BinaryIO

import obstore
from obstore import exceptions

from coredumpd import errors, record, store
from coredumpd.store import clouds, keys, window

CORE, META = "core.gz", "meta.json"
# S3 takes parts from 5 MiB and at most 10000 of them (its limits page); each is in memory twice.
_PART_BYTES_MIN, _PARTS_MAX, _PARTS_AT_ONCE = 5 * 1024 * 1024, 9000, 2
_READ_BYTES = 1024 * 1024
_LIST_PAGE = 1000  # what one answer of S3 holds at most
_READERS = 16  # records read at once by a scan: a bucket answers in milliseconds, but many at once
_log = logging.getLogger(__name__)


class BucketStore:
    """See `store.Store`. `small` carries metadata, `bulk` the bytes of cores, of one bucket."""

    def __init__(self, name: str, small: clouds.Objects, bulk: clouds.Objects) -> None:
        self.name = name
        self._small = small
        self._bulk = bulk

    def __repr__(self) -> str:
        return f"BucketStore({self.name!r})"

    def commit(self, key: record.DumpKey, entry: record.CrashRecord, core: BinaryIO) -> None:
        """See `store.Store.commit`."""
        with clouds.translated(self.name, key):
            if self._has_same(key, entry):
                return
            sent = _Sending(core, entry)
            obstore.put(
                self._bulk,
                f"{key}/{CORE}",
                sent.whole() if sent.size <= sent.part_bytes else iter(sent),
                use_multipart=sent.size > sent.part_bytes,
                chunk_size=sent.part_bytes,
                max_concurrency=_PARTS_AT_ONCE,
            )
            etag = self._verify(key, sent)
            stored = {**entry.raw["core"], "storedCrc32": f"{sent.crc:08x}"}
            if not self._publish(key, entry, record.CrashRecord({**entry.raw, "core": stored})):
                return
            try:
                self._verify(key, sent, etag)
            except (FileNotFoundError, errors.StorageError) as error:
                obstore.delete(self._small, f"{key}/{META}")
                message = f"{self.name}: {key}: the core was deleted or replaced meanwhile"
                raise errors.StorageError(message) from error

    def list(
        self,
        namespace: str | None = None,
        pod_uid: str | None = None,
        container: str | None = None,
    ) -> Iterator[record.DumpKey]:
        """See `store.Store.list`: one flat listing, a thousand objects an answer."""
        prefix = "/".join(keys.prefix(namespace, pod_uid, container)) or None
        with clouds.translated(self.name, None):
            for page in obstore.list(self._small, prefix, chunk_size=_LIST_PAGE):
                for item in page:
                    names = item["path"].split("/")
                    if len(names) != 5 or names[4] != META:
                        continue
                    try:
                        yield record.DumpKey(*names[:4])
                    except errors.Invalid as error:
                        _log.warning("not a dump, skipped: %s/%s: %s", self.name, names, error)

    def scan(
        self,
        namespace: str | None = None,
        pod_uid: str | None = None,
        container: str | None = None,
    ) -> Iterator[tuple[record.DumpKey, record.CrashRecord]]:
        """See `store.Store.scan`: in order, though several records are read at once."""
        with futures.ThreadPoolExecutor(_READERS, "store-scan") as pool:
            reading: collections.deque[
                tuple[record.DumpKey, futures.Future[record.CrashRecord | None]]
            ] = collections.deque()
            for key in self.list(namespace, pod_uid, container):
                reading.append((key, pool.submit(self._read_or_skip, key)))
                if len(reading) > 2 * _READERS:
                    yield from _settled(*reading.popleft())
            for pair in reading:
                yield from _settled(*pair)

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """See `store.Store.read_note`."""
        with clouds.translated(self.name, None):
            try:
                answer = obstore.get(self._small, _note(namespace, pod_uid, name))
            except FileNotFoundError as error:
                if not clouds.missing(error):
                    raise
                return None
            return bytes(answer.bytes())[: keys.NOTE_BYTES_MAX]

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None:
        """See `store.Store.write_note`."""
        with clouds.translated(self.name, None):
            obstore.put(self._small, _note(namespace, pod_uid, name), data)

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """See `store.Store.delete_note`."""
        path = _note(namespace, pod_uid, name)
        with clouds.translated(self.name, None):
            try:
                obstore.delete(self._small, path)
            except FileNotFoundError as error:  # S3 answers success instead
                if not clouds.missing(error):
                    raise

    def read_record(self, key: record.DumpKey) -> record.CrashRecord:
        """See `store.Store.read_record`."""
        with clouds.translated(self.name, key):
            return self._read_record(key)

    def open_core(self, key: record.DumpKey) -> window.WindowedCore:
        """See `store.Store.open_core`. The first bytes come with the answer."""
        with clouds.translated(self.name, key):
            self._read_record(key)  # a core without its record is no dump
            return window.WindowedCore(self.name, self._bulk, f"{key}/{CORE}")

    def delete(self, key: record.DumpKey) -> None:
        """See `store.Store.delete`: the record, and with it the dump, then the bytes."""
        with clouds.translated(self.name, key):
            obstore.head(self._small, f"{key}/{META}")  # S3 deletes what is not there with success
            obstore.delete(self._small, f"{key}/{META}")
            for page in obstore.list(self._small, str(key), chunk_size=_LIST_PAGE):
                obstore.delete(self._small, [item["path"] for item in page])

    def files(
        self,
        namespace: str | None = None,
        pod_uid: str | None = None,
        container: str | None = None,
    ) -> Iterator[store.File]:
        """See `store.Store.files`."""
        prefix = "/".join(keys.prefix(namespace, pod_uid, container)) or None
        with clouds.translated(self.name, None):
            for page in obstore.list(self._small, prefix, chunk_size=_LIST_PAGE):
                for item in page:
                    modified = item["last_modified"].timestamp()
                    yield store.File(item["path"], item["size"], modified)

    def open_file(self, path: str) -> window.WindowedCore:
        """See `store.Store.open_file`."""
        with clouds.translated(self.name, path):
            return window.WindowedCore(self.name, self._bulk, "/".join(keys.names(path)))

    def discard(self, path: str) -> None:
        """See `store.Store.discard`."""
        with clouds.translated(self.name, path):
            obstore.delete(self._small, "/".join(keys.names(path)))

    def _read_or_skip(self, key: record.DumpKey) -> record.CrashRecord | None:
        try:
            return self.read_record(key)
        except errors.NotFound:
            return None  # deleted since it was listed
        except (errors.BadRecord, errors.StorageError) as error:
            _log.warning("unreadable dump skipped: %s: %s", key, error)
            return None

    def _read_record(self, key: record.DumpKey) -> record.CrashRecord:
        answer = obstore.get(self._small, f"{key}/{META}")
        if answer.meta["size"] > record.RECORD_BYTES_MAX:
            raise errors.BadRecord(f"{key}: meta.json is larger than {record.RECORD_BYTES_MAX}")
        return record.CrashRecord.parse(bytes(answer.bytes()))

    def _has_same(self, key: record.DumpKey, entry: record.CrashRecord) -> bool:
        """Is this very dump there? Raises AlreadyExists if another one has its key."""
        try:
            there = self._read_record(key).raw["core"]
        except FileNotFoundError as error:
            if not clouds.missing(error):
                raise
            return False
        except errors.BadRecord as error:
            aside = f"{META}.{os.urandom(4).hex()}.bad"
            _log.warning("%s has no record, moved aside as %s: %s", key, aside, error)
            obstore.rename(self._small, f"{key}/{META}", f"{key}/{aside}")
            return False
        ours = entry.raw["core"]
        if (there["size"], there["crc32"]) == (ours["size"], ours["crc32"]):
            return True
        raise errors.AlreadyExists(f"the store holds another dump under {key}")

    def _verify(self, key: record.DumpKey, sent: _Sending, known: str | None = None) -> str | None:
        """The store has the bytes we sent; returns their ETag. Raises StorageError if it has not.

        By the ETag, if that is their MD5 or the one `known` from verifying before; else by reading.
        """
        meta = obstore.head(self._small, f"{key}/{CORE}")
        etag = meta["e_tag"]
        if meta["size"] == sent.size and etag and (etag == known or etag.strip('"') == sent.etag):
            return etag
        size = crc = 0
        for chunk in obstore.get(self._bulk, f"{key}/{CORE}").stream(_READ_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        if (size, crc) != (sent.size, sent.crc):
            raise errors.StorageError(
                f"{self.name}: {key}: wrote {sent.size} bytes with CRC {sent.crc:08x},"
                f" read back {size} with {crc:08x}"
            )
        return etag

    def _publish(
        self, key: record.DumpKey, entry: record.CrashRecord, stored: record.CrashRecord
    ) -> bool:
        """Put the record if there is none; False if this dump's is there already."""
        try:
            obstore.put(self._small, f"{key}/{META}", stored.encode(), mode="create")
        except exceptions.AlreadyExistsError:
            if not self._has_same(key, entry):
                raise
            return False
        return True


def _note(namespace: str, pod_uid: str, name: str) -> str:
    return "/".join((*keys.prefix(namespace, pod_uid, None), f"{keys.NOTE}{name}"))


def _settled(
    key: record.DumpKey, reading: futures.Future[record.CrashRecord | None]
) -> Iterator[tuple[record.DumpKey, record.CrashRecord]]:
    entry = reading.result()
    if entry is not None:
        yield key, entry


class _Sending:
    """A core on its way: its CRC-32, and the ETag that S3 gives such an upload.

    MD5 of the bytes, or of the parts' MD5s with their count; other stores and KMS differ.
    """

    def __init__(self, core: BinaryIO, entry: record.CrashRecord) -> None:
        self.size: int = entry.raw["core"]["storedSize"]
        share = -(-self.size // _PARTS_MAX)
        self.part_bytes = max(_PART_BYTES_MIN, -(-share // _READ_BYTES) * _READ_BYTES)
        self.crc = 0
        self.etag = ""
        self._core = core
        self._id = entry.id

    def whole(self) -> bytes:
        """All of it. Raises BadRecord when it is not `size` bytes."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        """Chunks. Raises BadRecord before the last byte is sent when they are not `size` bytes."""
        seen, digests = 0, []
        part = hashlib.md5(usedforsecurity=False)
        while chunk := self._core.read(_READ_BYTES):
            seen += len(chunk)
            if seen > self.size:
                break
            self.crc = zlib.crc32(chunk, self.crc)
            left = self.part_bytes - (seen - len(chunk)) % self.part_bytes
            part.update(chunk[:left])
            if len(chunk) >= left:
                digests.append(part.digest())
                part = hashlib.md5(chunk[left:], usedforsecurity=False)
            yield chunk
        if seen != self.size:
            more = " or more" if seen > self.size else ""
            rule = f"core.storedSize says {self.size}"
            raise errors.BadRecord(f"{self._id}: the core is {seen} bytes{more}; {rule}")
        if self.size <= self.part_bytes:
            self.etag = digests[0].hex() if digests else part.hexdigest()
            return
        if self.size % self.part_bytes:
            digests.append(part.digest())
        whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
        self.etag = f"{whole.hexdigest()}-{len(digests)}"
