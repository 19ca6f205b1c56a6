"""Build the image of `coredumpd` from nothing: `python -m tools.image dist/coredumpd OUT.oci.tar`.

The image holds the executable, the C library it was linked against and nothing else: no shell, no
package manager. The executable unpacks itself below /tmp (or $TMPDIR) each time it starts, about
70 MB, so a pod with a read-only root mounts an emptyDir there. No CA certificates: the only TLS
peer is kube-apiserver, whose authority comes with the service account.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PyInstaller.archive.readers import ArchiveReadError, CArchiveReader

from coredumpd import __version__
from tools import oci

NAME = f"docker.io/local/coredumpd:{__version__}"
COMPRESSED_BYTES_MAX = 80_000_000
USER = "65532"  # "nonroot", as the distroless images number it
_EXECUTABLE = "/usr/local/bin/coredumpd"
_PASSWD = f"""\
root:x:0:0:root:/:/sbin/nologin
nonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin
"""
_GROUP = f"""\
root:x:0:
nonroot:x:{USER}:
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("executable", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", default=NAME, help=f"registry/repository:tag (default {NAME})")
    arguments = parser.parse_args()
    try:
        layer = contents(arguments.executable)
    except (OSError, ValueError) as error:
        print(f"image.py: {error}", file=sys.stderr)
        return 1
    size = oci.write(arguments.output, arguments.name, layer, [_EXECUTABLE], USER)
    print(f"{arguments.output}: {arguments.name}, {size / 1e6:.1f} MB compressed")
    if size > COMPRESSED_BYTES_MAX:
        print(f"image.py: the limit is {COMPRESSED_BYTES_MAX / 1e6:.0f} MB", file=sys.stderr)
        return 1
    return 0


def contents(executable: Path) -> oci.Layer:
    """Everything in the image. Raises ValueError when `executable` is not a frozen one."""
    layer = oci.Layer()
    layer.file(_EXECUTABLE, executable, 0o755)
    layer.file("etc/passwd", _PASSWD.encode())
    layer.file("etc/group", _GROUP.encode())
    layer.directory("tmp", 0o1777)
    with tempfile.TemporaryDirectory() as unpacked:
        binaries = list(_unpack(executable, Path(unpacked)))
        layer.closure([executable])  # before it can unpack anything
        layer.closure(binaries, Path(unpacked))
    return layer


def _unpack(executable: Path, directory: Path) -> Iterator[Path]:
    """The ELF files a onefile executable carries, flat in `directory`, for the loader to judge."""
    try:
        archive = CArchiveReader(str(executable))
    except ArchiveReadError as error:
        raise ValueError(f"{executable} is not a PyInstaller executable; `make dist`") from error
    for name, (*_, kind) in archive.toc.items():
        if kind in "bx":  # binary or data; scripts, modules and links are not ELF files
            path = directory / Path(name).name
            path.write_bytes(archive.extract(name))
            if oci.is_elf(path):
                yield path


if __name__ == "__main__":
    sys.exit(main())
