"""One commit to a directory store: write beside the dumps, verify, publish by one rename(2)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import BinaryIO

from coredumpd import durable, errors
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.store import interface
from coredumpd.store.directory import dump as dumps
from coredumpd.store.directory import tree

# A deletion may remove an empty parent between our mkdir and our write; another commit of the same
# dump that was faster removes our part.
_TRIES_MAX = 3
_log = logging.getLogger(__name__)


class Commit:
    """The dump `key` with its `record` on its way into the store at `root`. Raises OSError."""

    def __init__(self, root: str, key: layout.DumpKey, record: records.CrashRecord) -> None:
        self._root = root
        self._key = key
        self._record = record

    def run(self, core: BinaryIO, index: core_index.Index | None) -> None:
        """See `interface.Target.commit`."""
        core_index.expect(self._record, index)
        start = core.tell()
        for attempt in range(1, _TRIES_MAX + 1):
            if self._is_done():
                return
            try:
                with tree.made_directory(self._root, *self._key.prefix.parts) as parent:
                    self._write(parent, core, index)
            except FileNotFoundError:
                if attempt == _TRIES_MAX:
                    raise
                core.seek(start)
            else:
                return

    def _write(self, parent: int, core: BinaryIO, index: core_index.Index | None) -> None:
        part = self._hidden_name(layout.PART)
        os.mkdir(part, 0o770, dir_fd=parent)
        try:
            with contextlib.ExitStack() as stack:
                dump = os.open(part, durable.DIRECTORY, dir_fd=parent)
                stack.callback(os.close, dump)
                crc = dumps.copy_verified(core, dump, self._record)
                if index is not None:
                    durable.write_new(layout.INDEX, dump, index.data, mode=tree.FILE_MODE)
                stored_record = self._record.with_core(storedCrc32=f"{crc:08x}")
                durable.write_new(layout.META, dump, stored_record.encode(), mode=tree.FILE_MODE)
                os.fsync(dump)
            self._publish(parent, part)
        except BaseException:
            with contextlib.suppress(OSError):  # the first failure is the one to report
                durable.remove_flat(part, parent)
            raise
        self._remove_earlier_parts(parent)

    def _publish(self, parent: int, part: str) -> None:
        try:
            os.rename(part, self._key.id, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and self._is_done():
                durable.remove_flat(part, parent)
                return
            raise
        os.fsync(parent)

    def _remove_earlier_parts(self, parent: int) -> None:
        """Remove the parts of earlier commits of this dump that were killed half-way."""
        for name in tree.names(parent):
            if name.startswith(f".{self._key.id}.") and name.endswith(layout.PART):
                with contextlib.suppress(OSError):  # another commit still writes it, and removes it
                    durable.remove_flat(name, parent)

    def _is_done(self) -> bool:
        """Is this dump in the store? Raises AlreadyExists if another dump has its key."""
        stored_record = self._stored_record()
        if stored_record is None:
            return False
        interface.check_same(self._key, stored_record, self._record)
        return True

    def _stored_record(self) -> records.CrashRecord | None:
        """The record under the key; a directory that is no dump (a power cut) is moved aside."""
        problem: Exception
        parents = self._key.prefix.parts
        try:
            with tree.directory(self._root, *parents, self._key.id) as dump:
                try:
                    return dumps.read_record(dump)
                except (FileNotFoundError, errors.BadRecord) as error:
                    problem = error
        except FileNotFoundError:
            return None
        aside = self._hidden_name(layout.BAD)
        _log.warning("%s is no dump, moved aside as %s: %s", self._key, aside, problem)
        with tree.directory(self._root, *parents) as parent:
            os.rename(self._key.id, aside, src_dir_fd=parent, dst_dir_fd=parent)
        return None

    def _hidden_name(self, suffix: str) -> str:
        """The name of a sibling of the dump, which can be no dump's: it begins with a dot."""
        return f".{self._key.id}.{os.urandom(4).hex()}{suffix}"
