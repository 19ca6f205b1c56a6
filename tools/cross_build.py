"""Build the executable and the image for another architecture: `python -m tools.cross_build arm64`.

PyInstaller cannot build for another architecture, so this runs it in a Debian 12 of that
architecture below .cache/, by qemu's user mode and binfmt_misc. The results are
dist/<arch>/coredumpd and dist/<arch>/coredumpd.oci.tar. The first run takes about ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,libpython3.11,binutils,ca-certificates"
SOURCES = ("coredumpd", "tools", "build.spec", "requirements.txt", "requirements-build.lock")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# The ELF header of each architecture's programs, and the mask that says which bytes count.
_HEADER = {"arm64": rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"}
_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_EMULATOR = {"arm64": "/usr/bin/qemu-aarch64-static"}
_CHROOT = """\
set -e
for directory in proc sys dev; do mount --rbind /$directory "$1/$directory"; done
root=$1; shift
exec chroot "$root" "$@"
"""
_BUILD = """\
set -e
cd /build
export HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements-build.lock
.venv/bin/python -m PyInstaller --noconfirm --log-level WARN build.spec
.venv/bin/python -m tools.image dist/coredumpd dist/coredumpd.oci.tar
"""


class Missing(Exception):
    """The reason why this machine cannot build for the architecture."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", choices=sorted(_EMULATOR))
    arguments = parser.parse_args()
    try:
        build(arguments.arch)
    except (Missing, OSError) as error:
        print(f"cross_build.py: {error}", file=sys.stderr)
        return 1
    return 0


def build(arch: str) -> None:
    """Write dist/<arch>/coredumpd and its image. Raises Missing."""
    for program in ("debootstrap", _EMULATOR[arch]):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed")
    with emulation(arch):
        debian = _debian(arch)
        work = debian / "build"
        work.mkdir(exist_ok=True)
        for name in SOURCES:
            source, target = ROOT / name, work / name
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy(source, target)
        _run_in(debian, "sh", "-c", _BUILD)
        output = ROOT / "dist" / arch
        output.mkdir(parents=True, exist_ok=True)
        for name in ("coredumpd", "coredumpd.cdx.json", "coredumpd.oci.tar"):
            shutil.copy2(work / "dist" / name, output / name)


@contextlib.contextmanager
def emulation(arch: str) -> Iterator[None]:
    """While this lasts, the kernel runs programs of `arch` by qemu. Raises Missing.

    The flag F opens the emulator now, so that it need not be in the chroot (binfmt-misc.rst).
    """
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False)
        if not (BINFMT / "register").exists():
            raise Missing("this kernel has no binfmt_misc")
    name = f"coredumpd-{arch}"
    if (BINFMT / name).exists():
        (BINFMT / name).write_text("-1")  # of a run that was killed
    fields = [b"", name.encode(), b"M", b"", _HEADER[arch], _MASK, _EMULATOR[arch].encode(), b"F"]
    (BINFMT / "register").write_bytes(b":".join(fields))
    try:
        yield
    finally:
        (BINFMT / name).write_text("-1")


def _debian(arch: str) -> Path:
    """The root directory of a Debian for `arch`, made once. Raises Missing."""
    debian = ROOT / ".cache" / f"debian-{RELEASE}-{arch}"
    if debian.exists():
        return debian
    part = debian.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", f"--arch={arch}", "--variant=minbase", f"--include={PACKAGES}"]
    _run([*command, "--foreign", RELEASE, str(part), _mirror()])
    _run_in(part, "/debootstrap/debootstrap", "--second-stage")
    for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"):
        if os.path.exists(path):
            shutil.copy(path, part / path.lstrip("/"))
    certificates = "etc/ssl/certs/ca-certificates.crt"  # the machine's own authorities with it
    shutil.copy(Path("/") / certificates, part / certificates)
    part.rename(debian)
    return debian


def _mirror() -> str:
    """Where this machine's apt takes its packages from. Raises Missing."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    uris = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if not uris:
        raise Missing("this machine's apt names no repository")
    return uris[0]


def _run_in(root: Path, *command: str) -> None:
    """Run `command` in `root`, in a mount namespace that ends with it. Raises Missing."""
    _run(["unshare", "--mount", "sh", "-c", _CHROOT, "sh", str(root), *command])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise Missing(f"exit code {done.returncode} of {' '.join(command)[-200:]}")


if __name__ == "__main__":
    sys.exit(main())
