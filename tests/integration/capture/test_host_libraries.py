"""The handler among the files of other hosts: older C libraries, newer ones, and none at all.

The kernel runs the handler in the host's mount namespace, so here it runs in a root directory that
holds what such a host would: a release's own C library, or only a static busybox.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import cores
from support.node import installed, vm

_ENTER = """\
mount --make-rprivate / && mkdir -p "$1/proc" "$1/dev" "$1$2" &&
mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --bind "$2" "$1$2" || exit 99
root=$1; shift 2
exec chroot "$root" "$@"
"""
HOST_LIBRARIES = ("none", "bullseye", "bookworm", "trixie")


def root(release: str, directory: Path) -> Path:
    """A root directory with the C library of Debian's `release`. Skips what cannot be fetched."""
    top = directory / "root"
    (top / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", top / "bin")
    if release != "none":
        try:
            archives = vm.Apt(release, "amd64").fetch("libc6")
        except vm.Missing as error:
            pytest.skip(f"THE C LIBRARY OF {release} IS NOT TESTED: {error}")
        for archive in archives:
            subprocess.run(["dpkg-deb", "-x", archive, top], check=True)
    return top


def run(
    top: Path, host_dir: Path, *command: object, core: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` in the root `top`, where `host_dir` has the same path as outside."""
    words = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", top, host_dir, *command]
    return subprocess.run(words, input=core, capture_output=True, env={}, close_fds=False)


@pytest.mark.parametrize("release", HOST_LIBRARIES)
@pytest.mark.parametrize("kind", ["frozen"], indirect=True)
def test_a_core_is_stored_whatever_c_library_the_host_has(
    handler: installed.Installed, words: list[str], release: str, tmp_path: Path
) -> None:
    top = root(release, tmp_path)
    core = cores.elf(3_000_000)
    done = run(top, handler.host_dir, handler.executable, "handle", *words, core=core)
    assert (done.returncode, done.stderr) == (0, b"")
    entry = handler.wait_for_entry()
    assert gzip.decompress((entry / "core.gz").read_bytes()) == core


@pytest.mark.parametrize("kind", ["frozen"], indirect=True)
def test_the_handler_loads_no_library_of_the_host(handler: installed.Installed) -> None:
    version = handler.executable.resolve().parent
    loader = version / "_internal" / "ld.so"
    files = [path for path in version.rglob("*") if path.is_file()]
    files = [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]
    assert len(files) > 5, files
    for file in files:
        # As the launcher has loaded them: by its own RPATH.
        command = [loader, "--library-path", version / "_internal", "--list", file]
        listed = subprocess.run(command, capture_output=True, text=True)
        assert listed.returncode == 0, listed
        paths = re.findall(r"=> (\S+)", listed.stdout)
        foreign = [path for path in paths if not path.startswith(str(version))]
        assert not foreign, (file, listed.stdout)
