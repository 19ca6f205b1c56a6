"""A virtual machine with another Debian's kernel, or another processor: qemu, nothing installed.

It boots into an initramfs whose root holds a static busybox and no C library, as the hosts with the
fewest files do: there the kernel runs the handler. Below /user is an unpacked, never configured
Debian 12 with Python and strace, where the test's own program runs. Packages come from wherever
this machine's apt takes its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support.node import installed

CACHE = installed.ROOT / ".cache" / "kernels"
USERLAND = "bookworm"
PACKAGES = ("python3-minimal", "python3", "libpython3.11-stdlib", "busybox-static", "strace")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
BOOT_DEADLINE_S = 300.0
MEMORY_MIB = 2048
RESULT = "RESULT "  # what the guest has to say, on the console
_QEMU = {
    "amd64": ("qemu-system-x86_64", "pc", "max", "ttyS0"),
    "arm64": ("qemu-system-aarch64", "virt", "max,pauth=off", "ttyAMA0"),
}
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs -o size=80% tmpfs /tmp
for directory in proc sys dev tmp opt; do
    /bin/busybox mkdir -p /user/$directory
    /bin/busybox mount --rbind /$directory /user/$directory
done
export PATH=/usr/bin:/bin HOME=/
/bin/busybox chroot /user /usr/bin/python3.11 /opt/guest.py
/bin/busybox poweroff -f
"""


class Missing(Exception):
    """Why this cannot run here."""


@dataclasses.dataclass(frozen=True)
class Apt:
    """apt for another suite or architecture, with a state of its own: nothing is installed."""

    suite: str
    arch: str

    @property
    def directory(self) -> Path:
        return CACHE / f"{self.suite}-{self.arch}"

    @property
    def archives(self) -> Path:
        return self.directory / "archives"

    def fetch(self, *packages: str) -> list[Path]:
        """Archives of `packages` and of what they need. Raises Missing."""
        self._set_up()
        self._apt(
            "apt-get", "install", "-y", "--no-install-recommends", "--download-only", *packages
        )
        return sorted(self.archives.glob("*.deb"))

    def fetch_kernel(self) -> Path:
        """The archive of the suite's kernel, without what that needs. Raises Missing."""
        self._set_up()
        said = self._apt("apt-cache", "depends", f"linux-image-{self.arch}")
        name = next(line.split()[-1] for line in said.splitlines() if "Depends:" in line)
        self._apt("apt-get", "download", name)
        (archive,) = self.archives.glob(f"{name}_*.deb")
        return archive

    def _set_up(self) -> None:
        if (self.directory / "updated").exists():
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        for below in ("state/lists/partial", "archives/partial"):
            (self.directory / below).mkdir(parents=True)
        (self.directory / "status").touch()
        said = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True
        ).stdout.split()
        if not said:
            raise Missing("this machine's apt names no repository")
        source = f"deb [arch={self.arch} signed-by={KEYRING}] {said[0]} {self.suite} main\n"
        (self.directory / "sources.list").write_text(source)
        where = self.directory
        settings = {
            "APT::Architecture": self.arch,
            "APT::Sandbox::User": "root",
            "Dir::State": where / "state",
            "Dir::State::status": where / "status",
            "Dir::Cache": where,
            "Dir::Etc::sourcelist": where / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
        }
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        lines.append(f'APT::Architectures {{"{self.arch}";}};\n')
        (where / "apt.conf").write_text("".join(lines))
        self._apt("apt-get", "update", "--error-on=any")
        (where / "updated").touch()

    def _apt(self, *words: str) -> str:
        environment = os.environ | {"APT_CONFIG": str(self.directory / "apt.conf")}
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=self.archives
        )
        if done.returncode:
            raise Missing(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout


@dataclasses.dataclass(frozen=True)
class Machine:
    """One with the kernel of Debian's `suite`, for `arch` in Debian's words."""

    suite: str
    arch: str

    def __str__(self) -> str:
        return f"{self.suite}-{self.arch}"

    def boot(self, directory: Path, files: dict[str, Path]) -> list[Any]:
        """Boot, with `files` by their names in /opt, run /opt/guest.py, and power off.

        Returns what the guest printed after RESULT, as JSON. Raises Missing for what cannot be
        fetched or is not installed.
        """
        program, machine, cpu, console = _QEMU[self.arch]
        for needed in (program, "cpio", "dpkg-deb", "apt-get"):
            if shutil.which(needed) is None:
                raise Missing(f"{needed} is not installed")
        kernel = self._kernel()
        initrd = self._initrd(directory, files)
        line = f"console={console} quiet loglevel=1 panic=-1"
        # Emulated everywhere: KVM can be there and yet hang, inside of another virtual machine.
        how = f"-M {machine} -cpu {cpu} -accel tcg -smp 2 -m {MEMORY_MIB} -nographic -nic none"
        command = [program, *how.split(), "-no-reboot", "-kernel", str(kernel)]
        command += ["-initrd", str(initrd), "-append", line]
        console_log = directory / "console"
        with console_log.open("wb") as sink:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                timeout=BOOT_DEADLINE_S,
                check=True,
            )
        lines = console_log.read_text(errors="replace").splitlines()
        results = [line.partition(RESULT)[2] for line in lines if RESULT in line]
        assert results, "\n".join(lines[-60:])
        return [json.loads(result) for result in results]

    def _kernel(self) -> Path:
        apt = Apt(self.suite, self.arch)
        unpacked = apt.directory / "kernel"
        if not unpacked.exists():
            archive = apt.fetch_kernel()
            part = apt.directory / "kernel.part"
            _unpack(archive, part)
            archive.unlink()
            part.rename(unpacked)
        (found,) = (unpacked / "boot").glob("vmlinuz-*")
        return found

    def _initrd(self, directory: Path, files: dict[str, Path]) -> Path:
        apt = Apt(USERLAND, self.arch)
        userland = apt.directory / "userland"
        if not userland.exists():
            part = apt.directory / "userland.part"
            for archive in apt.fetch(*PACKAGES):
                _unpack(archive, part)
            for unneeded in ("doc", "man", "locale"):
                shutil.rmtree(part / "usr/share" / unneeded, ignore_errors=True)
            (part / "bin/sh").symlink_to("busybox")
            part.rename(userland)
        root = directory / "root"
        shutil.copytree(userland, root / "user", symlinks=True)
        for name in ("bin", "proc", "sys", "dev", "tmp", "opt"):
            (root / name).mkdir()
        (root / "bin/busybox").hardlink_to(root / "user/bin/busybox")
        for name, path in files.items():
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, root / "opt" / name)
        (root / "init").write_text(_INIT)
        (root / "init").chmod(0o755)
        image = directory / "initrd"
        pack = f"find . | cpio --quiet -o -H newc | gzip -1 > {image}"
        subprocess.run(["sh", "-c", pack], cwd=root, check=True)
        shutil.rmtree(root)
        return image


def _unpack(archive: Path, target: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", archive, target], check=True)
