"""A store in a bucket: S3 and compatible services, GCS, Azure.

The keys are a directory store's paths: `<prefix>/<namespace>/<podUID>/<container>/<id>/` with
`core.gz`, `core.index` if the record has one, and `meta.json`. A dump exists when its meta.json
does: that object is written last, on the condition that there is none, and deleted first. A core
without a meta.json belongs to no dump; the next try overwrites it, or `coredumpd store check` finds
it.

A multipart upload cannot be conditional. So two different dumps sent under one key at the same
moment could mix. A key holds second, pid and a nonce, which makes that improbable, and every core
is verified again after its record was written.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import obstore
from obstore import exceptions

from coredumpd import errors, parallel
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.store import interface
from coredumpd.store.bucket import clouds, sending
from coredumpd.store.bucket import core as cores

_LIST_PAGE = 1000  # objects, the most in one answer of S3
_READERS = 16  # records read at a time by a scan: each answer takes milliseconds
_log = logging.getLogger(__name__)


class BucketStore:
    """See `interface.Store`. `small` carries metadata, `bulk` the bytes of cores, of one bucket."""

    def __init__(self, name: str, small: clouds.Objects, bulk: clouds.Objects) -> None:
        self.name = name
        self._small = small
        self._bulk = bulk

    def __repr__(self) -> str:
        return f"BucketStore({self.name!r})"

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        """See `interface.Target.commit`."""
        core_index.expect(record, index)
        with clouds.translated(self.name, key):
            if self._has_same(key, record):
                return
            upload = sending.CoreUpload(core, record)
            obstore.put(
                self._bulk,
                key.path(layout.CORE),
                upload.whole() if upload.size <= upload.part_bytes else iter(upload),
                use_multipart=upload.size > upload.part_bytes,
                chunk_size=upload.part_bytes,
                max_concurrency=sending.PARTS_AT_ONCE,
            )
            etag = self._verify(key, upload)
            if index is not None:
                self._put_index(key, index)
            if not self._publish(key, record.with_core(storedCrc32=f"{upload.crc:08x}")):
                return
            try:
                self._verify(key, upload, etag)
            except (FileNotFoundError, errors.StorageError) as error:
                obstore.delete(self._small, key.path(layout.META))
                message = f"{self.name}: {key}: the core was deleted or replaced meanwhile"
                raise errors.StorageError(message) from error

    def list(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[layout.DumpKey]:
        """See `interface.Store.list`: one flat listing, a thousand objects an answer."""
        with clouds.translated(self.name, None):
            for page in obstore.list(self._small, str(prefix) or None, chunk_size=_LIST_PAGE):
                for item in page:
                    names = item["path"].split("/")
                    if len(names) != 5 or names[4] != layout.META:
                        continue
                    try:
                        yield layout.DumpKey(*names[:4])
                    except errors.Invalid as error:
                        _log.warning("not a dump, skipped: %s/%s: %s", self.name, names, error)

    def scan(
        self, prefix: layout.Prefix = interface.EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """See `interface.Store.scan`: in order, though several records are read at once."""
        for key, record in parallel.each(self._read_or_skip, self.list(prefix), _READERS):
            if record is not None:
                yield key, record

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """See `interface.Store.read_note`."""
        with clouds.translated(self.name, None):
            try:
                answer = obstore.get(self._small, _note(namespace, pod_uid, name))
            except FileNotFoundError as error:
                if not clouds.missing(error):
                    raise
                return None
            return bytes(answer.bytes())[: layout.NOTE_BYTES_MAX]

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None:
        """See `interface.Store.write_note`."""
        with clouds.translated(self.name, None):
            obstore.put(self._small, _note(namespace, pod_uid, name), data)

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """See `interface.Store.delete_note`."""
        path = _note(namespace, pod_uid, name)
        with clouds.translated(self.name, None):
            try:
                obstore.delete(self._small, path)
            except FileNotFoundError as error:  # S3 answers success instead
                if not clouds.missing(error):
                    raise

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """See `interface.Store.read_record`."""
        with clouds.translated(self.name, key):
            return self._read_record(key)

    def open_core(self, key: layout.DumpKey) -> cores.WindowedCore:
        """See `interface.Store.open_core`. The first bytes come with the answer."""
        with clouds.translated(self.name, key):
            self._read_record(key)  # a core without its record is no dump
            return cores.WindowedCore(self.name, self._bulk, key.path(layout.CORE))

    def delete(self, key: layout.DumpKey) -> None:
        """See `interface.Store.delete`: the record, and with it the dump, then the bytes."""
        with clouds.translated(self.name, key):
            # Raises NotFound, which S3 does not for the deletion of a missing object.
            obstore.head(self._small, key.path(layout.META))
            obstore.delete(self._small, key.path(layout.META))
            for page in obstore.list(self._small, str(key), chunk_size=_LIST_PAGE):
                obstore.delete(self._small, [item["path"] for item in page])

    def files(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[interface.File]:
        """See `interface.Store.files`."""
        with clouds.translated(self.name, None):
            for page in obstore.list(self._small, str(prefix) or None, chunk_size=_LIST_PAGE):
                for item in page:
                    modified = item["last_modified"].timestamp()
                    yield interface.File(item["path"], item["size"], modified)

    def open_file(self, path: str) -> cores.WindowedCore:
        """See `interface.Store.open_file`."""
        with clouds.translated(self.name, path):
            return cores.WindowedCore(self.name, self._bulk, "/".join(layout.split(path)))

    def free_bytes(self) -> int | None:
        """See `interface.Store.free_bytes`."""
        return None

    def discard(self, path: str) -> None:
        """See `interface.Store.discard`."""
        with clouds.translated(self.name, path):
            obstore.delete(self._small, "/".join(layout.split(path)))

    def _read_or_skip(self, key: layout.DumpKey) -> records.CrashRecord | None:
        try:
            return self.read_record(key)
        except errors.NotFound:
            return None  # deleted since it was listed
        except (errors.BadRecord, errors.StorageError) as error:
            _log.warning("unreadable dump skipped: %s: %s", key, error)
            return None

    def _read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        answer = obstore.get(self._small, key.path(layout.META))
        if answer.meta["size"] > records.RECORD_BYTES_MAX:
            raise errors.BadRecord(f"{key}: meta.json is larger than {records.RECORD_BYTES_MAX}")
        return records.CrashRecord.parse(bytes(answer.bytes()))

    def _has_same(self, key: layout.DumpKey, record: records.CrashRecord) -> bool:
        """Is this dump in the store? Raises AlreadyExists if another dump has its key."""
        try:
            stored_record = self._read_record(key)
        except FileNotFoundError as error:
            if not clouds.missing(error):
                raise
            return False
        except errors.BadRecord as error:
            aside = f"{layout.META}.{os.urandom(4).hex()}{layout.BAD}"
            _log.warning("%s has no record, moved aside as %s: %s", key, aside, error)
            obstore.rename(self._small, key.path(layout.META), key.path(aside))
            return False
        interface.check_same(key, stored_record, record)
        return True

    def _verify(
        self, key: layout.DumpKey, upload: sending.CoreUpload, known_etag: str | None = None
    ) -> str | None:
        """Check that the store has the bytes we sent; returns their ETag. Raises StorageError.

        The ETag proves it if it is their MD5, or `known_etag` of an earlier check; else they are
        read back.
        """
        meta = obstore.head(self._small, key.path(layout.CORE))
        etag = meta["e_tag"]
        proofs = (known_etag, upload.etag, f'"{upload.etag}"')
        if meta["size"] == upload.size and etag and etag in proofs:
            return etag
        size = crc = 0
        for chunk in obstore.get(self._bulk, key.path(layout.CORE)).stream(sending.READ_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        if (size, crc) != (upload.size, upload.crc):
            raise errors.StorageError(
                f"{self.name}: {key}: wrote {upload.size} bytes with CRC {upload.crc:08x},"
                f" read back {size} with {crc:08x}"
            )
        return etag

    def _put_index(self, key: layout.DumpKey, index: core_index.Index) -> None:
        """Put core.index and read it back. Raises StorageError."""
        obstore.put(self._small, key.path(layout.INDEX), index.data)
        if bytes(obstore.get(self._small, key.path(layout.INDEX)).bytes()) != index.data:
            raise errors.StorageError(f"{self.name}: {key}: read back another core.index")

    def _publish(self, key: layout.DumpKey, record: records.CrashRecord) -> bool:
        """Put the record if the key has none; False if it has this dump's already."""
        try:
            obstore.put(self._small, key.path(layout.META), record.encode(), mode="create")
        except exceptions.AlreadyExistsError:
            if not self._has_same(key, record):
                raise
            return False
        return True


def _note(namespace: str, pod_uid: str, name: str) -> str:
    return f"{layout.Prefix(namespace, pod_uid)}/{layout.NOTE}{name}"
