"""A store in a directory: local disk, NFS, CephFS, any mounted filesystem.

`<root>/<namespace>/<podUID>/<container>/<id>/{core.gz,core.index,meta.json}`; core.index only where
the record has one. No locks: a dump is written to its sibling `.<id>.<nonce>.part`, a name that no
dump can have, and becomes visible by one rename(2) of a directory, which every filesystem of
interest does atomically (NFS: RFC 7530 section 16.27).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from coredumpd import durable, errors
from coredumpd.formats import core_index, layout
from coredumpd.formats import record as records
from coredumpd.store import interface
from coredumpd.store.directory import commit, listing, tree
from coredumpd.store.directory import dump as dumps

_log = logging.getLogger(__name__)


class DirectoryStore:
    """See `interface.Store`. The root must exist: a missing mount is not an empty store."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"DirectoryStore({self.root!r})"

    def commit(
        self,
        key: layout.DumpKey,
        record: records.CrashRecord,
        core: BinaryIO,
        index: core_index.Index | None = None,
    ) -> None:
        """See `interface.Target.commit`."""
        with self._translated(key):
            commit.Commit(self.root, key, record).run(core, index)

    def list(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[layout.DumpKey]:
        """See `interface.Store.list`."""
        with self._translated(None):
            with tree.directory(self.root):
                pass  # a missing root is an error; a missing prefix has no dumps
            for path in self._walk(prefix.parts):
                try:
                    yield layout.DumpKey(*path)
                except errors.Invalid as error:
                    _log.warning("not a dump, skipped: %s/%s: %s", self.root, path, error)

    def scan(
        self, prefix: layout.Prefix = interface.EVERYTHING
    ) -> Iterator[tuple[layout.DumpKey, records.CrashRecord]]:
        """See `interface.Store.scan`."""
        for key in self.list(prefix):
            try:
                yield key, self.read_record(key)
            except errors.NotFound:
                pass  # deleted since it was listed, or never complete; see `store check`
            except (errors.BadRecord, errors.StorageError) as error:
                _log.warning("unreadable dump skipped: %s: %s", key, error)

    def read_note(self, namespace: str, pod_uid: str, name: str) -> bytes | None:
        """See `interface.Store.read_note`."""
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
        """See `interface.Store.write_note`."""
        pod_path = layout.Prefix(namespace, pod_uid).parts
        new = f"{layout.NOTE}{name}.{os.urandom(4).hex()}"
        with self._translated(None), tree.made_directory(self.root, *pod_path) as pod:
            durable.write_whole_at(
                f"{layout.NOTE}{name}", pod, data, mode=tree.FILE_MODE, temporary=new
            )

    def delete_note(self, namespace: str, pod_uid: str, name: str) -> None:
        """See `interface.Store.delete_note`."""
        pod_path = layout.Prefix(namespace, pod_uid).parts
        with (
            contextlib.suppress(FileNotFoundError),  # deleted before
            self._translated(None, missing=False),
            tree.directory(self.root, *pod_path) as pod,
        ):
            os.unlink(f"{layout.NOTE}{name}", dir_fd=pod)
        self._remove_empty(pod_path)

    def read_record(self, key: layout.DumpKey) -> records.CrashRecord:
        """See `interface.Store.read_record`."""
        with self._translated(key), tree.directory(self.root, *key.prefix.parts, key.id) as dump:
            return dumps.read_record(dump)

    def open_core(self, key: layout.DumpKey) -> dumps.CoreFile:
        """See `interface.Store.open_core`."""
        with self._translated(key), tree.directory(self.root, *key.prefix.parts, key.id) as dump:
            return dumps.CoreFile(tree.open_file(layout.CORE, dump), key.path(layout.CORE))

    def delete(self, key: layout.DumpKey) -> None:
        """See `interface.Store.delete`. Hides the dump by one rename, then removes it."""
        parents = key.prefix.parts
        gone = f".{key.id}.{os.urandom(4).hex()}{layout.GONE}"
        with self._translated(key), tree.directory(self.root, *parents) as parent:
            with tree.directory(self.root, *parents, key.id):
                pass  # a symlink is refused before it is renamed
            os.rename(key.id, gone, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
            durable.remove_flat(gone, parent)
        self._remove_empty(parents)

    def _remove_empty(self, parents: tuple[str, ...]) -> None:
        for depth in range(len(parents), 0, -1):
            try:
                with tree.directory(self.root, *parents[: depth - 1]) as above:
                    os.rmdir(parents[depth - 1], dir_fd=above)
            except OSError:
                return  # not empty, as usual; an empty directory left behind is harmless

    def files(self, prefix: layout.Prefix = interface.EVERYTHING) -> Iterator[interface.File]:
        """See `interface.Store.files`."""
        with self._translated(None):
            with tree.directory(self.root):
                pass  # as in `list`
            yield from listing.walk(self.root, prefix.parts)

    def open_file(self, path: str) -> dumps.CoreFile:
        """See `interface.Store.open_file`."""
        *above, name = layout.split(path)
        with self._translated(path), tree.directory(self.root, *above) as parent:
            return dumps.CoreFile(tree.open_file(name, parent), path)

    def free_bytes(self) -> int | None:
        """See `interface.Store.free_bytes`."""
        with self._translated(None):
            status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def discard(self, path: str) -> None:
        """See `interface.Store.discard`."""
        with self._translated(path):
            listing.discard(self.root, layout.split(path))

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

        With `missing` False, FileNotFoundError passes as it is, unless the root is missing.
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
            place = self.root if key is None else f"{self.root}: {key}"
            raise errors.StorageError(f"store {place}: {error.strerror or error}") from error
