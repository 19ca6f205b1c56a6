"""Build the image of `coredumpd` from nothing: `python -m tools.image dist/coredumpd OUT.oci.tar`.

The image holds the executable, the C library it was linked against, the licences of what it carries
of others and their list (an SBOM, also written beside the executable as `.cdx.json`), and nothing
else: no base image, no shell, no package manager. The executable unpacks itself below /tmp (or
$TMPDIR) each time it starts, about 70 MB, so a pod with a read-only root mounts an emptyDir there.
No CA certificates: the only TLS peer is kube-apiserver, whose authority comes with the service
account.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PyInstaller.archive.readers import ArchiveReadError, CArchiveReader

from coredumpd import __version__
from tools import oci, sbom, shipped

NAME = f"docker.io/local/coredumpd:{__version__}"
COMPRESSED_BYTES_MAX = 80_000_000
USER = "65532"  # "nonroot", as the distroless images number it
_LICENCES = "usr/share/licenses"
_BILL = "usr/share/sbom/coredumpd.cdx.json"
_EXECUTABLE = "/usr/local/bin/coredumpd"
_HANDLER_BUNDLE = "handler_bundle/"
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
    bill = arguments.executable.with_name(arguments.executable.name + ".cdx.json")
    bill.write_bytes(layer.content(_BILL))
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
    libraries = _host_libraries(executable)
    for library in libraries:
        layer.file(library, Path(library), 0o755)
    carried = _components(executable, libraries)
    for component in carried:
        for name, text in component.texts:
            layer.file(f"{_LICENCES}/{component.name}/{name}", text)
    layer.file(_BILL, sbom.document(executable, carried).encode())
    return layer


def _components(executable: Path, libraries: list[str]) -> list[shipped.Component]:
    """What the image carries of others. Raises ValueError when a licence is not known."""
    files = {*libraries, *_frozen_libraries(executable), os.__file__}
    return [*shipped.distributions(), *shipped.debian_packages(sorted(files))]


def _host_libraries(executable: Path) -> list[str]:
    """The libraries that the image takes from this machine, by their paths here."""
    with tempfile.TemporaryDirectory() as unpacked:
        binaries = list(_unpack(executable, Path(unpacked)))
        # Its own too: before it can unpack anything.
        paths = oci.libraries([executable]) | oci.libraries(binaries, Path(unpacked))
    return sorted(paths)


def _frozen_libraries(executable: Path) -> list[str]:
    """The shared libraries of this machine that the executable carries, by their paths here."""
    names = {name for name, (*_, kind) in _archive(executable).toc.items() if kind == "b"}
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    paths = dict(re.findall(r"^\s+(\S+) \(.*\) => (\S+)$", known.stdout, re.MULTILINE))
    return sorted(paths[name] for name in names if name in paths)


def _archive(executable: Path) -> CArchiveReader:
    try:
        return CArchiveReader(str(executable))
    except ArchiveReadError as error:
        raise ValueError(f"{executable} is not a PyInstaller executable; `make dist`") from error


def _unpack(executable: Path, directory: Path) -> Iterator[Path]:
    """The ELF files a onefile executable carries, flat in `directory`, for the loader to judge."""
    archive = _archive(executable)
    for name, (*_, kind) in archive.toc.items():
        if name.startswith(_HANDLER_BUNDLE):
            continue  # it is installed on the host, with a C library and a loader of its own
        if kind in "bx":  # binary or data; scripts, modules and links are not ELF files
            path = directory / Path(name).name
            path.write_bytes(archive.extract(name))
            if oci.is_elf(path):
                yield path


if __name__ == "__main__":
    sys.exit(main())
