"""The handler on the host: `<hostDir>/versions/<digest>/`, made current by one rename.

A running executable is never overwritten ("Text file busy", and a crash in the middle would run
half a file): a version's directory is complete and synced before anything names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
from pathlib import Path

import psutil

import coredumpd
from coredumpd import durable
from coredumpd.agent.node import host_namespaces, host_paths, interpreter
from coredumpd.agent.node.handlers_cgroup import make
from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs

_EXECUTABLES = (host_dirs.LAUNCHER, os.path.basename(interpreter.LOADER))
_BUNDLE = "handler_bundle"  # build.spec puts it there
BUNDLED_LAUNCHER = f"{_BUNDLE}/{host_dirs.LAUNCHER}"  # below the unpacked executable
_OURS = (
    host_dirs.VERSIONS,
    host_dirs.SPOOL,
    host_dirs.STATE,
    host_dirs.GUARD,
    host_dirs.SHIPPER,
)
_PID_NS_INIT_INODE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_OUR_FILES = (
    host_dirs.POLICY,
    host_dirs.LAST_POLICY,
    host_dirs.HANDLER_SLOTS,
    host_dirs.CAPTURE_SLOTS,
    host_dirs.CAPTURE_SOCKET,
    host_dirs.HANDLER_CGROUPS,
)
_SOURCE_SCRIPT = """\
#!{python} -I
import sys
sys.path.insert(0, {tree!r})
from coredumpd import cli
raise SystemExit(cli.main())
"""


def prepare(host_dir: Path) -> None:
    """Make hostDir and the directories in it.

    Raises SettingsError when its path does not fit into a core_pattern, Forbidden when other users
    could change the handler or the kernel could not run it, StorageError.
    """
    pattern_line(host_dir)
    if os.geteuid() == 0:  # nobody else can make the kernel run it
        host_paths.check_above(host_dir)
        host_namespaces.call(host_paths.check_above, host_dir)  # where the kernel looks for it
    try:
        host_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        host_paths.check(host_dir)
        host_dir.chmod(0o700)  # the kubelet makes it 0755
        for name in _OURS:
            (host_dir / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise host_paths.problem(host_dir, error) from error
    host_namespaces.call(host_paths.check_exec, host_dir)


def pattern_line(host_dir: Path) -> str:
    """The core_pattern that runs the handler below `host_dir`. Raises SettingsError."""
    return core_pattern.render(str(host_dir / host_dirs.CURRENT_LAUNCHER))


def install(host_dir: Path) -> str:
    """Install the handler this program carries; returns the core_pattern line. Idempotent.

    Raises StorageError, and then leaves nothing behind.
    """
    versions = host_dir / host_dirs.VERSIONS
    new = versions / f".new.{os.getpid()}"
    try:
        for leftover in versions.glob(".*"):  # an install that was killed
            shutil.rmtree(leftover)
        _unpack(new)
        target = versions / _digest(new)
        _use_own_loader(new, target)
        if target.exists() and _digest(target) != _digest(new):  # damaged; one may be running
            target.rename(versions / f".damaged.{os.getpid()}")
        if target.exists():
            shutil.rmtree(new)
        else:
            new.rename(target)
            durable.sync_directory(versions)
        _switch(host_dir, target.name)
    except OSError as error:
        problem = host_paths.problem(host_dir, error, _carried_bytes())
        shutil.rmtree(new, ignore_errors=True)
        raise problem from error
    return pattern_line(host_dir)


def in_first_pid_namespace() -> bool:
    """Does this process see every process of the host, by the pids the kernel uses?"""
    return os.stat("/proc/self/ns/pid").st_ino == _PID_NS_INIT_INODE


def remove_old(host_dir: Path) -> list[str]:
    """Remove the versions that are not current and that no process runs; returns their names."""
    if not in_first_pid_namespace():
        return []  # we would not see the handlers of the host
    current = os.path.basename(os.readlink(host_dir / host_dirs.CURRENT))
    running = _running()
    removed = []
    for version in sorted((host_dir / host_dirs.VERSIONS).iterdir()):
        if version.name == current:
            continue
        with contextlib.suppress(FileNotFoundError):  # no launcher: nothing can run it
            status = (version / host_dirs.LAUNCHER).stat()
            if (status.st_dev, status.st_ino) in running:
                continue
        shutil.rmtree(version, ignore_errors=True)
        removed.append(version.name)
    return removed


def remove_all(host_dir: Path) -> list[str]:
    """Undo `install`, but keep unshipped dumps; returns the names of their spool entries."""
    with contextlib.suppress(FileNotFoundError):
        (host_dir / host_dirs.CURRENT).unlink()
    make.remove(host_dir)
    for name in set(_OURS) - {host_dirs.SPOOL}:
        shutil.rmtree(host_dir / name, ignore_errors=True)
    for name in _OUR_FILES:
        with contextlib.suppress(FileNotFoundError):
            (host_dir / name).unlink()
    spool = host_dir / host_dirs.SPOOL
    for leftover in spool.glob(f"{host_dirs.SELF_TEST_ENTRY}*"):  # of a guard that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    remaining = sorted(entry.name for entry in spool.iterdir()) if spool.exists() else []
    for directory in (spool, host_dir):
        with contextlib.suppress(OSError):  # not empty, or a mount point
            directory.rmdir()
    return remaining


def _running() -> set[tuple[int, int]]:
    """(device, inode) of every executable that runs: paths differ between mount namespaces."""
    executables = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):  # gone, or a kernel thread
            executable = os.stat(f"/proc/{pid}/exe")
            executables.add((executable.st_dev, executable.st_ino))
    return executables


def _unpack(target: Path) -> None:
    """The bundle of the frozen executable; from source, a script that runs this very tree."""
    if (bundle := _bundle()) is not None:
        _copy(bundle, target)
    else:
        target.mkdir()
        tree = Path(coredumpd.__file__).resolve().parents[1]
        script = _SOURCE_SCRIPT.format(python=sys.executable, tree=str(tree))
        (target / host_dirs.LAUNCHER).write_text(script)
    for directory, _, names in os.walk(target, topdown=False):
        for name in names:
            path = os.path.join(directory, name)
            os.chmod(path, 0o700 if name in _EXECUTABLES else 0o600)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.chmod(directory, 0o700)
        durable.sync_directory(Path(directory))


def _bundle() -> Path | None:
    """The handler that the frozen executable carries; None from source."""
    if not getattr(sys, "frozen", False):
        return None
    return Path(sys._MEIPASS) / _BUNDLE  # type: ignore[attr-defined]


def _carried_bytes() -> int:
    """The size of the handler, 0 from source."""
    bundle = _bundle()
    files = [] if bundle is None else bundle.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def _copy(source: Path, target: Path) -> None:
    """Copy a tree, links as what they lead to. Raises the first OSError; copytree gathers all."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir():
            _copy(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def _use_own_loader(version: Path, target: Path) -> None:
    """Make the launcher in `version` start by its own loader, once it lies in `target`.

    By the version's path and not by `current`: one that switches between two opens would give the
    launcher of one version the libraries of the other.
    """
    if (version / interpreter.LOADER).exists():  # not from source
        launcher = version / host_dirs.LAUNCHER
        interpreter.set_interpreter(launcher, str(target / interpreter.LOADER))
        with launcher.open("rb") as file:
            os.fsync(file.fileno())


def _digest(directory: Path) -> str:
    """16 hex digits that name names, modes and bytes below `directory`."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        attributes = path.lstat()
        if stat.S_ISREG(attributes.st_mode):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(
                f"{path.relative_to(directory)}\0{attributes.st_mode:o}\0{content}\n".encode()
            )
    return total.hexdigest()[:16]


def _switch(host_dir: Path, digest: str) -> None:
    current, target = host_dir / host_dirs.CURRENT, f"{host_dirs.VERSIONS}/{digest}"
    if current.is_symlink() and os.readlink(current) == target:
        return
    new = host_dir / f"{host_dirs.CURRENT}.new"
    with contextlib.suppress(FileNotFoundError):  # the usual case
        new.unlink()
    new.symlink_to(target)
    new.rename(current)
    durable.sync_directory(host_dir)
