"""A real Ceph on this machine, for the store's tests: CephFS through ceph-fuse, S3 through RGW.

One monitor, one OSD in memory, one MDS, one gateway, all on 127.0.0.1, with cephx keys from the
start (RGW does without no authentication). Everything lives below one directory; every process is
our child and ends by its own pid. docs.ceph.com: "Manual Deployment", without its systemd units.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
import uuid
from pathlib import Path

import obstore
from obstore import store as obstores

from support import waiting

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "ceph-mds", "ceph-fuse", "radosgw", "radosgw-admin")
PACKAGES = "ceph-mon ceph-osd ceph-mds ceph-common ceph-fuse radosgw"
OSD_BYTES = 6 << 30  # at most; memory is taken as it is written
ACCESS_KEY, SECRET_KEY = "coredumptests", "not-a-secret-of-anybody"
_COMMAND_S = 60


def missing() -> str | None:
    """Why Ceph cannot run here; None if it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages: {PACKAGES})"
    if not os.path.exists("/dev/fuse"):
        return "this kernel has no FUSE"
    return None if os.geteuid() == 0 else "not root"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Ceph:
    """A cluster below `directory`. `start()`, then `mount()` and `gateway()` as needed."""

    def __init__(self, directory: Path, more: str = "") -> None:
        """`more`: lines for the section `global` of ceph.conf."""
        self.directory = directory
        self._more = more
        self.conf = directory / "ceph.conf"
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._mounts: list[Path] = []
        self.endpoint = ""
        self.mounted = directory

    def __enter__(self) -> Ceph:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Monitor and OSD."""
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        monitor = f"[v2:127.0.0.1:{free_port()}/0]"
        for name in ("log", "run", "mon", "osd", "mds"):
            (self.directory / name).mkdir(parents=True)
        self.conf.write_text(self._configuration(fsid, monitor))
        mon_keys, admin = self.directory / "mon.keyring", self.directory / "admin.keyring"
        everything = [word for part in ("mon", "osd", "mds", "mgr") for word in _cap(part, "*")]
        self._run("ceph-authtool", "-C", mon_keys, "-g", "-n", "mon.", *_cap("mon", "*"))
        self._run("ceph-authtool", "-C", admin, "-g", "-n", "client.admin", *everything)
        self._run("ceph-authtool", mon_keys, "--import-keyring", admin)
        monmap = self.directory / "monmap"
        self._run("monmaptool", "--create", "--addv", "a", monitor, "--fsid", fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", mon_keys)
        self._daemon("ceph-mon", "-i", "a")
        self.ceph("mon", "stat")
        key = self._run("ceph-authtool", "--gen-print-key").strip()
        secrets = self.directory / "secrets.json"
        secrets.write_text(json.dumps({"cephx_secret": key}))
        self.ceph("osd", "new", osd, "0", "-i", secrets)
        keyring = self.directory / "osd/keyring"
        self._run("ceph-authtool", "-C", keyring, "-n", "osd.0", "--add-key", key)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._daemon("ceph-osd", "-i", "0")
        waiting.until(
            "the OSD is up",
            lambda: '"num_up_osds": 1' in self.ceph("osd", "stat", "-f", "json-pretty"),
            60,
        )

    def mount(self) -> Path:
        """CephFS mounted by ceph-fuse; its directory."""
        for pool in ("meta", "data"):
            self.ceph("osd", "pool", "create", f"cephfs_{pool}", "8")
        self.ceph("fs", "new", "cephfs", "cephfs_meta", "cephfs_data")
        keyring = self.directory / "mds/keyring"
        caps = ("mon", "profile mds", "osd", "allow rwx", "mds", "allow")
        self.ceph("auth", "get-or-create", "mds.a", *caps, "-o", keyring)
        self._daemon("ceph-mds", "-i", "a")
        waiting.until("the MDS is active", lambda: "up:active" in self.ceph("mds", "stat"), 60)
        mount = self.directory / "mnt"
        mount.mkdir()
        self._mounts.append(mount)
        self._daemon("ceph-fuse", "-n", "client.admin", mount)
        waiting.until("CephFS is mounted", lambda: os.path.ismount(mount), 30)
        self.mounted = mount
        return mount

    def gateway(self) -> str:
        """RGW, which speaks S3; its endpoint."""
        keyring = self.directory / "rgw.keyring"
        caps = ("mon", "allow rw", "osd", "allow rwx")
        self.ceph("auth", "get-or-create", "client.rgw.a", *caps, "-o", keyring)
        port = free_port()
        front = f"--rgw-frontends=beast endpoint=127.0.0.1:{port}"
        self._daemon("radosgw", "-n", "client.rgw.a", "-k", keyring, front)
        waiting.until("the gateway answers", lambda: answers(port), 90)
        names = ("--uid=tests", "--display-name=tests")
        pair = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self.admin("user", "create", *names, *pair)
        self.endpoint = f"http://127.0.0.1:{port}"
        return self.endpoint

    def bucket(self, name: str, endpoint: str | None = None) -> dict[str, str]:
        """Make a bucket (obstore signs, but cannot); the `bucket` settings that reach it."""
        client = obstores.S3Store(
            name,
            endpoint=self.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )
        url = obstore.sign(client, "PUT", "", datetime.timedelta(minutes=1))
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30):
            return {"endpoint": endpoint or self.endpoint}

    def ceph(self, *words: object) -> str:
        return self._run("ceph", "-n", "client.admin", "--connect-timeout", "30", *words)

    def admin(self, *words: object) -> str:
        return self._run("radosgw-admin", "-n", "client.admin", *words)

    def child(self, program: str) -> subprocess.Popen[bytes]:
        """The running daemon `program`."""
        return dict(self._children)[program]

    def close(self) -> None:
        """Unmount and end every process, newest first."""
        for mount in self._mounts:
            subprocess.run(["umount", "--lazy", str(mount)], check=False)
        for _, child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            if child.poll() is None:
                child.kill()
                child.wait()
        self._children.clear()

    def _run(self, program: str, *words: object) -> str:
        done = subprocess.run(
            [program, *self._where(program), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode:
            raise waiting.Failed(f"{program} {words}: {done.stderr}")
        return done.stdout

    def _where(self, program: str) -> list[str]:
        return [] if program in ("ceph-authtool", "monmaptool") else ["-c", str(self.conf)]

    def _daemon(self, program: str, *words: object) -> None:
        log = (self.directory / f"log/{program}.out").open("wb")
        with log:
            child = subprocess.Popen(
                [program, *self._where(program), "-f", *map(str, words)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._children.append((program, child))

    def _configuration(self, fsid: str, monitor: str) -> str:
        here = self.directory
        return f"""\
[global]
fsid = {fsid}
mon host = {monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {here}/run
log file = {here}/log/$name.log
mon cluster log file = {here}/log/cluster.log
admin socket = {here}/run/$name.asok
crash dir = {here}/run
keyring = {here}/admin.keyring
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
# Tests stop the OSD for minutes: it must not take that for a bug of its own when it goes on.
osd op thread suicide timeout = 0
osd heartbeat grace = 3600
memstore device bytes = {OSD_BYTES}
rgw thread pool size = 64
rgw enable usage log = false
{self._more}
[mon]
mon data = {here}/mon
keyring = {here}/mon/keyring
[osd]
osd data = {here}/osd
keyring = {here}/osd/keyring
[mds]
mds data = {here}/mds
keyring = {here}/mds/keyring
"""


def _cap(part: str, what: str) -> tuple[str, ...]:
    return ("--cap", part, "allow *" if what == "*" else what)


def answers(port: int) -> bool:
    """Does anybody listen on `port`?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
