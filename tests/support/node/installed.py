"""The handler as it lies on a host, from source or from the frozen executable.

<host_dir>/versions/test/coredumpd    what the kernel runs
<host_dir>/current -> versions/test
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from coredumpd.agent.node import interpreter

ROOT = Path(__file__).resolve().parents[3]
FROZEN = ROOT / "dist" / "coredumpd"

_SOURCE_SCRIPT = """\
#!{python} -I
import sys
sys.path.insert(0, {root!r})
from coredumpd import cli
raise SystemExit(cli.main())
"""


class Installed:
    """One installation below `host_dir`."""

    def __init__(self, host_dir: Path, kind: str) -> None:
        """`kind` is `source` or `frozen`."""
        self.host_dir = host_dir
        self.kind = kind
        version = host_dir / "versions" / "test"
        version.parent.mkdir(parents=True, mode=0o700)
        host_dir.chmod(0o700)
        if kind == "frozen":
            shutil.copytree(bundle(), version, symlinks=False)
            loader = version / interpreter.LOADER
            interpreter.set_interpreter(version / "coredumpd", str(loader))
        else:
            version.mkdir()
            script = version / "coredumpd"
            script.write_text(_SOURCE_SCRIPT.format(python=sys.executable, root=str(ROOT)))
            script.chmod(0o755)
        (host_dir / "current").symlink_to("versions/test")

    @property
    def executable(self) -> Path:
        return self.host_dir / "current" / "coredumpd"

    @property
    def spool(self) -> Path:
        return self.host_dir / "spool"

    def policy(self, file: str = "policy.json", **fields: object) -> None:
        """Write the snapshot an agent would, with `fields` over a quick test's values."""
        path = self.host_dir / file
        path.write_text(json.dumps({"version": 1, "node": "node1"} | fields))
        path.chmod(0o600)

    def entries(self) -> list[Path]:
        """The complete spool entries."""
        if not self.spool.exists():
            return []
        return sorted(path for path in self.spool.iterdir() if path.suffix != ".part")

    def wait_for_entry(self, seconds: float = 30) -> Path:
        """The first complete entry; fails the test when none comes in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if entries := self.entries():
                return entries[0]
            time.sleep(0.02)
        raise AssertionError(f"nothing in the spool after {seconds} s")

    def record(self, entry: Path) -> dict[str, Any]:
        """The entry's meta.json."""
        document: dict[str, Any] = json.loads((entry / "meta.json").read_bytes())
        return document


def bundle(frozen: Path = FROZEN) -> Path:
    """The handler as the onefile executable `frozen` carries it."""
    unpacked = ROOT / "build" / "unpacked" / frozen.parent.name
    if not unpacked.exists() or unpacked.stat().st_mtime < frozen.stat().st_mtime:
        _extract(frozen, unpacked)
    return unpacked / "handler_bundle"


def _extract(frozen: Path, target: Path) -> None:
    from PyInstaller.archive import readers

    shutil.rmtree(target, ignore_errors=True)
    archive = readers.CArchiveReader(str(frozen))
    for name, (*_, kind) in archive.toc.items():
        path = target / name
        if kind not in "bxn":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        data = archive.extract(name)
        if kind == "n":
            path.symlink_to(data.rstrip(b"\0").decode())
        else:
            path.write_bytes(data)
            path.chmod(stat.S_IRWXU)
    os.utime(target)


def arguments(process: subprocess.Popen[Any], **changed: object) -> list[str]:
    """The words the kernel would pass for `process` (of this user, in our PID namespace)."""
    values = {
        "pid": process.pid,
        "ns_pid": process.pid,
        "tid": process.pid,
        "ns_tid": process.pid,
        "uid": os.getuid(),
        "gid": os.getgid(),
        "signal": 11,
        "time": int(time.time()),
        "rlimit_core": 0,
        "dump_mode": 1,
        "pidfd": "",
    } | changed
    return [str(value) for value in values.values()]
