"""Find the state file in which a container's runtime keeps its names. No RPC, one small file.

    containerd   <dir>/<id>/config.json           the OCI bundle; annotations io.kubernetes.cri.*
    CRI-O        <dir>/<id>/userdata/config.json  the OCI bundle; annotations io.kubernetes.*
    cri-dockerd  <dir>/<id>/config.v2.json        Config.Labels io.kubernetes.*

The directories are root's and configured by the administrator. Still, a file is believed only if
root owns it and it agrees with the kernel's cgroup (`runtime_state`).
"""

from __future__ import annotations

import os
import stat

from coredumpd import durable, errors
from coredumpd.formats import cgroup
from coredumpd.handler.evidence import runtime_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_BYTES_MAX = 4 * 1024 * 1024
_FILES = ("config.json", "userdata/config.json", "config.v2.json")


def find(directories: Iterable[str], place: cgroup.Place) -> runtime_state.Container | None:
    """Names of the container at `place`, or None if no runtime here has a state file for it.

    Raises BadRecord for a state file that is not one or contradicts the cgroup, Forbidden for one
    that somebody else than root could have written.
    """
    data = None if place.container_id is None else _state(directories, place.container_id)
    return None if data is None else runtime_state.parse(data, place)


def find_outside(
    directories: Iterable[str], id: str, path: str, root: str
) -> tuple[cgroup.Place, runtime_state.Container] | None:
    """Place and names of the container `id` in the cgroup `path`, which is in no pod's.

    None for a container that is no pod's. Raises NotFound without a state file, and what `find`
    does, also when the file claims another cgroup than `path`. `root` is the kubelet's cgroup.
    """
    data = _state(directories, id)
    if data is None:
        raise errors.NotFound("no directory in policy.runtimeStateDirs has its state file")
    return runtime_state.parse_outside(data, id, path, root)


def _state(directories: Iterable[str], id: str) -> bytes | None:
    """The state file of the container `id`, 64 hex digits; None where no runtime has one.

    A runtime that is not there, or has no such container, costs one failed open.
    """
    for directory in directories:
        path = f"{directory}/{id}"
        try:
            container = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise errors.Forbidden(f"runtime state {path}: {error.strerror}") from error
        try:
            for name in _FILES:
                data = _read(path, name, container)
                if data is not None:
                    return data
        finally:
            os.close(container)
    return None


def _read(directory: str, name: str, directory_fd: int) -> bytes | None:
    """The file below the open `directory_fd`, whose path is `directory`; None if not there."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=directory_fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.Forbidden(f"runtime state {directory}/{name}: {error.strerror}") from error
    try:
        attributes = os.fstat(fd)
        if not stat.S_ISREG(attributes.st_mode) or not durable.is_ours(fd):
            raise errors.Forbidden(
                f"runtime state {directory}/{name}: must be a regular file that only root can write"
            )
        if attributes.st_size > STATE_BYTES_MAX:
            raise errors.BadRecord(
                f"runtime state {directory}/{name}: over {STATE_BYTES_MAX} bytes"
            )
        with open(fd, "rb", closefd=False) as file:
            return file.read(STATE_BYTES_MAX)
    finally:
        os.close(fd)
