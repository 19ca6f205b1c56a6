"""A store in a directory: local disk, NFS, CephFS, any mounted filesystem.

`<root>/<namespace>/<podUID>/<container>/<id>/{core.gz,meta.json}`. No locks: a dump is written in a
`.<id>.<nonce>.part` sibling, whose name can be no dump's, and becomes visible by one rename(2) of
a directory, which every filesystem of interest does atomically (NFS: RFC 7530 section 16.27).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from coredumpd import errors
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.store import interface
from coredumpd.store.directory import dump as dumpfiles
from coredumpd.store.directory import listing, tree

# A deletion may remove an empty parent between our mkdir and our write; a twin that was faster
# removes our part.
_TRIES_MAX = 3
_log = logging.getLogger(__name__)


class DirectoryStore:
    """See `store.Store`. The root must exist: a mount that is missing is not an empty store."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"DirectoryStore({self.root!r})"

    def commit(self, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO) -> None:
        """See `store.Store.commit`."""
        start = core.tell()
        with self._translated(key):
            for attempt in range(1, _TRIES_MAX + 1):
                if self._has_same(key, entry):
                    return
                try:
                    with tree.made_directory(self.root, *_parents(key)) as parent:
                        self._write(parent, key, entry, core)
                except FileNotFoundError:
                    if attempt == _TRIES_MAX:
                        raise
                    core.seek(start)
                else:
                    return

    def list(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[layout.DumpKey]:
        """See `store.Store.list`."""
        with self._translated(None):
            with tree.directory(self.root):
                pass  # a root that is gone is an error, a prefix that is not there is empty
            for path in self._walk(prefix.parts):
                try:
                    yield layout.DumpKey(*path)
                except errors.Invalid as error:
                    _log.warning("not a dump, skipped: %s/%s: %s", self.root, path, error)

    def scan(
        self, prefix: layout.Prefix = interface.EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """See `store.Store.scan`."""
        for key in self.list(prefix):
            try:
                yield key, self.read_record(key)
            except errors.NotFound:
                pass  # deleted since it was listed, or never whole; `store check` tells which
            except (errors.BadRecord, errors.StorageError) as error:
                _log.warning("unreadable dump skipped: %s: %s", key, error)

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """See `store.Store.read_note`."""
        pod_path = layout.Prefix(namespace, pod_uid).parts
        try:
            with (
                self._translated(None, missing=False),
                tree.directory(self.root, *pod_path) as pod,
                open(tree.open_file(f"{layout.NOTE}{name}", pod), "rb") as file,
            ):
                return file.read(layout.NOTE_BYTES_MAX)
        except FileNotFoundError:
            return None

    def write_note(self, namespace: str, pod_uid: str, name: str, data: bytes) -> None:
        """See `store.Store.write_note`."""
        pod_path = layout.Prefix(namespace, pod_uid).parts
        new = f"{layout.NOTE}{name}.{os.urandom(4).hex()}"
        with self._translated(None), tree.made_directory(self.root, *pod_path) as pod:
            dumpfiles.write_file(new, pod, data)
            os.rename(new, f"{layout.NOTE}{name}", src_dir_fd=pod, dst_dir_fd=pod)
            os.fsync(pod)

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """See `store.Store.delete_note`."""
        pod_path = layout.Prefix(namespace, pod_uid).parts
        with (
            contextlib.suppress(FileNotFoundError),  # deleted before
            self._translated(None, missing=False),
            tree.directory(self.root, *pod_path) as pod,
        ):
            os.unlink(f"{layout.NOTE}{name}", dir_fd=pod)
        self._remove_empty(pod_path)

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """See `store.Store.read_record`."""
        with self._translated(key), tree.directory(self.root, *_parents(key), key.id) as dump:
            return dumpfiles.read_record(dump)

    def open_core(self, key: layout.DumpKey) -> dumpfiles.CoreFile:
        """See `store.Store.open_core`."""
        with self._translated(key), tree.directory(self.root, *_parents(key), key.id) as dump:
            return dumpfiles.CoreFile(
                tree.open_file(dumpfiles.CORE, dump), f"{key}/{dumpfiles.CORE}"
            )

    def delete(self, key: layout.DumpKey) -> None:
        """See `store.Store.delete`: invisible by one rename, then the bytes, then empty parents."""
        parents = _parents(key)
        gone = f".{key.id}.{os.urandom(4).hex()}.gone"
        with self._translated(key), tree.directory(self.root, *parents) as parent:
            with tree.directory(self.root, *parents, key.id):
                pass  # refuses a symlink before it is renamed
            os.rename(key.id, gone, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
            tree.remove(gone, parent)
        self._remove_empty(parents)

    def _remove_empty(self, parents: tuple[str, ...]) -> None:
        for depth in range(len(parents), 0, -1):
            try:
                with tree.directory(self.root, *parents[: depth - 1]) as above:
                    os.rmdir(parents[depth - 1], dir_fd=above)
            except OSError:
                return  # not empty, as usual; an empty one left behind is harmless

    def files(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[interface.File]:
        """See `store.Store.files`."""
        with self._translated(None):
            with tree.directory(self.root):
                pass  # as in `list`
            yield from listing.walk(self.root, prefix.parts)

    def open_file(self, path: str) -> dumpfiles.CoreFile:
        """See `store.Store.open_file`."""
        *above, name = layout.split(path)
        with self._translated(path), tree.directory(self.root, *above) as parent:
            return dumpfiles.CoreFile(tree.open_file(name, parent), path)

    def discard(self, path: str) -> None:
        """See `store.Store.discard`."""
        with self._translated(path):
            listing.discard(self.root, layout.split(path))

    def _write(
        self, parent: int, key: layout.DumpKey, entry: records.CrashRecord, core: BinaryIO
    ) -> None:
        part = f".{key.id}.{os.urandom(4).hex()}.part"
        os.mkdir(part, 0o770, dir_fd=parent)
        try:
            with contextlib.ExitStack() as stack:
                dump = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
                stack.callback(os.close, dump)
                crc = dumpfiles.copy_verified(core, dump, entry)
                stored = {**entry.raw, "core": {**entry.raw["core"], "storedCrc32": f"{crc:08x}"}}
                dumpfiles.write_file(dumpfiles.META, dump, records.CrashRecord(stored).encode())
                os.fsync(dump)
            self._publish(parent, part, key, entry)
        except BaseException:
            with contextlib.suppress(OSError):  # the first failure is the one to tell
                tree.remove(part, parent)
            raise
        for name in tree.names(parent):  # an earlier try of ours, killed half-way
            if name.startswith(f".{key.id}.") and name.endswith(".part"):
                with contextlib.suppress(OSError):  # a twin still writes it, and will remove it
                    tree.remove(name, parent)

    def _publish(
        self, parent: int, part: str, key: layout.DumpKey, entry: records.CrashRecord
    ) -> None:
        try:
            os.rename(part, key.id, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and self._has_same(key, entry):
                tree.remove(part, parent)
                return
            raise
        os.fsync(parent)

    def _has_same(self, key: layout.DumpKey, entry: records.CrashRecord) -> bool:
        """Is this very dump there? Raises AlreadyExists if another one has its key."""
        there, ours = self._core_there(key), entry.raw["core"]
        if there is None:
            return False
        if records.same_core(there, ours):
            return True
        raise errors.AlreadyExists(f"the store holds another dump under {key}")

    def _core_there(self, key: layout.DumpKey) -> dict[str, Any] | None:
        """The `core` of the record under `key`; what is no dump (a power cut) is moved aside."""
        problem: Exception
        try:
            with tree.directory(self.root, *_parents(key), key.id) as dump:
                try:
                    core: dict[str, Any] = dumpfiles.read_record(dump).raw["core"]
                    return core
                except (FileNotFoundError, errors.BadRecord) as error:
                    problem = error
        except FileNotFoundError:
            return None
        aside = f".{key.id}.{os.urandom(4).hex()}.bad"
        _log.warning("%s is no dump, moved aside as %s: %s", key, aside, problem)
        with tree.directory(self.root, *_parents(key)) as parent:
            os.rename(key.id, aside, src_dir_fd=parent, dst_dir_fd=parent)
        return None

    def _walk(self, prefix: Sequence[str]) -> Iterator[Sequence[str]]:
        """Paths four names long below `prefix`. A directory that cannot be read is logged."""
        try:
            with tree.directory(self.root, *prefix) as directory:
                names = [name for name in tree.names(directory) if not name.startswith(".")]
            names.sort(key=lambda name: f"{name}/")  # as a bucket lists: "a-b/" before "a/"
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("unreadable, skipped: %s/%s: %s", self.root, "/".join(prefix), error)
            return
        for name in names:
            path = [*prefix, name]
            if len(path) == 4:
                yield path
            else:
                yield from self._walk(path)

    @contextlib.contextmanager
    def _translated(self, key: layout.DumpKey | str | None, missing: bool = True) -> Iterator[None]:
        """OSError → NotFound or StorageError, naming root and key.

        `missing` False: what is not there passes as FileNotFoundError, if the root is there.
        """
        try:
            yield
        except FileNotFoundError as error:
            if not missing and os.path.isdir(self.root):
                raise
            if key is None or not os.path.isdir(self.root):
                raise errors.StorageError(
                    f"the store {self.root} is not there; create the directory or mount it"
                ) from error
            raise errors.NotFound(f"no dump {key}") from error
        except OSError as error:
            where = self.root if key is None else f"{self.root}: {key}"
            raise errors.StorageError(f"store {where}: {error.strerror or error}") from error


def _parents(key: layout.DumpKey) -> tuple[str, str, str]:
    return key.namespace, key.pod_uid, key.container
