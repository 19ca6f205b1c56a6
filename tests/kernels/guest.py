"""Runs in the virtual machine, on its Python: processes crash, and what becomes of them is told.

/opt/product is a directory that holds `coredumpd`, the program that the kernel is to run.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time
import zlib

HOST_DIR = "/tmp/host"
EXECUTABLE = f"{HOST_DIR}/current/coredumpd"
TRACE = "/tmp/trace"
TRACED = "/opt/traced"
PATTERN = pathlib.Path("/opt/pattern").read_text()  # with {} for the executable, less its slash
CRASH = "import os; b = os.urandom(150 << 20); z = bytearray(30 << 20); os.abort()"
DEADLINE_S = 120
STATE_DIR = "/tmp/runtime"
POD_UID = "11111111-2222-3333-4444-555555555555"
CONTAINER_ID = "ab" * 32
POD_CGROUP = f"kubepods/besteffort/pod{POD_UID}/{CONTAINER_ID}"
# The hierarchies of each layout, as (directory, type of file system, mount options). Version 1 goes
# first: once mounted, version 2 stays in /proc/PID/cgroup.
LAYOUTS = {
    "v1": (("systemd", "cgroup", "none,name=systemd"), ("pids", "cgroup", "pids")),
    "hybrid": (("systemd", "cgroup", "none,name=systemd"), ("unified", "cgroup2", "")),
    "v2": (("", "cgroup2", ""),),
}
THREADS = """
import ctypes, os, sys, threading, time
def die():
    time.sleep(0.5)
    ctypes.string_at(0)
def rest():
    threading.Event().wait()
if sys.argv[1] == "main":
    threading.Thread(target=rest, daemon=True).start()
    die()
threading.Thread(target=die).start()
if sys.argv[1] == "gone":
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit(2)
rest()
"""


def install() -> None:
    os.makedirs(f"{HOST_DIR}/versions", 0o700)
    os.chmod(HOST_DIR, 0o700)
    shutil.copytree("/opt/product", f"{HOST_DIR}/versions/test", symlinks=True)
    os.symlink("versions/test", f"{HOST_DIR}/current")
    with open(f"{HOST_DIR}/policy.json", "w") as file:
        json.dump(
            {
                "version": 1,
                "node": "node1",
                "hostCrashes": "store",
                "runtimeStateDirs": [STATE_DIR],
                "spoolKeepFree": 0,  # or the share of a small /tmp would cut the core
            },
            file,
        )
    os.chmod(f"{HOST_DIR}/policy.json", 0o600)
    with open(TRACED, "w") as file:
        strace = f"/bin/busybox chroot /user /usr/bin/strace -f -o {TRACE}"
        file.write(f'#!/bin/busybox sh\nexec {strace} {EXECUTABLE} "$@"\n')
    os.chmod(TRACED, 0o755)
    with open("/proc/sys/kernel/core_pipe_limit", "w") as file:
        file.write("16")
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def threads() -> set[tuple[str, ...]]:
    """What each thread of a handler may do, and how many there are."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/task/*/status"):
        process = path.partition("/task")[0]
        try:
            with open(f"{process}/cmdline") as file:
                if HOST_DIR not in file.read():
                    continue
            with open(path) as file:
                said = dict(line.split(":", 1) for line in file.read().splitlines())
            count = len(os.listdir(f"{process}/task"))
        except OSError:
            continue  # gone meanwhile
        names = ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd")
        found.add((*(said[name].strip() for name in names), str(count)))
    return found


def crash(program: str, watch: bool) -> dict[str, object]:
    with open("/proc/sys/kernel/core_pattern", "w") as file:
        file.write(PATTERN.format(program[1:]))
    process = subprocess.Popen([sys.executable, "-c", CRASH])
    seen: set[tuple[str, ...]] = set()
    while process.poll() is None:
        if watch:
            seen |= threads()
        time.sleep(0.02)
    entry = wait_for_entry()
    with open(f"{entry}/meta.json") as file:
        record = json.load(file)
    size = crc32 = 0
    with gzip.open(f"{entry}/core.gz") as stored:
        while chunk := stored.read(1 << 20):
            size, crc32 = size + len(chunk), zlib.crc32(chunk, crc32)
    shutil.rmtree(entry)
    return {
        "signal": -process.returncode,
        "fault": record["signal"],
        "core": record["core"],
        "stored": [size, f"{crc32:08x}"],
        "threads": sorted(seen),
    }


def crash_in_pods() -> dict[str, object]:
    """By layout of the cgroups and thread that crashed: the owner in the record, and its facts."""
    os.makedirs(f"{STATE_DIR}/{CONTAINER_ID}")
    annotations = {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-uid": POD_UID,
        "io.kubernetes.cri.container-name": "app",
    }
    state = {"annotations": annotations, "linux": {"cgroupsPath": f"/{POD_CGROUP}"}}
    with open(f"{STATE_DIR}/{CONTAINER_ID}/config.json", "w") as file:
        json.dump(state, file)
    with open("/proc/sys/kernel/core_pattern", "w") as file:
        file.write(PATTERN.format(EXECUTABLE[1:]))
    os.makedirs("/sys/fs/cgroup", exist_ok=True)
    busybox("mount", "-t", "tmpfs", "cgroups", "/sys/fs/cgroup")
    return {
        f"{layout} {thread}": crash_in_pod(hierarchies, thread)
        for layout, hierarchies in LAYOUTS.items()
        for thread in ("main", "worker", "gone")
    }


def crash_in_pod(hierarchies: tuple[tuple[str, str, str], ...], thread: str) -> list[object]:
    tops = [f"/sys/fs/cgroup/{name or 'v2'}" for name, *_ in hierarchies]
    for top, (_, kind, options) in zip(tops, hierarchies, strict=True):
        os.makedirs(top, exist_ok=True)
        busybox("mount", "-t", kind, *(("-o", options) if options else ()), "cgroup", top)
        os.makedirs(f"{top}/{POD_CGROUP}")

    def enter() -> None:
        for top in tops:
            with open(f"{top}/{POD_CGROUP}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

    process = subprocess.Popen(
        [sys.executable, "-c", THREADS, thread], preexec_fn=enter, cwd="/opt"
    )
    process.wait()
    entry = wait_for_entry()
    with open(f"{entry}/meta.json") as file:
        record = json.load(file)
    shutil.rmtree(entry)
    for top in tops:
        for directory, _, _ in os.walk(f"{top}/kubepods", topdown=False):
            os.rmdir(directory)
        busybox("umount", top)
    facts = record["process"]
    names = (record["namespace"], record["podName"], record["podUID"] == POD_UID)
    return [*names, facts["exe"], facts["cwd"], facts["pid"] == facts["tid"]]


def busybox(*words: str) -> None:
    subprocess.run(["busybox", *words], check=True)


def wait_for_entry() -> str:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for path in glob.glob(f"{HOST_DIR}/spool/*"):
            if not path.endswith(".part"):
                return path
        time.sleep(0.05)
    raise SystemExit(f"nothing in the spool; {log()}")


def refused() -> list[str]:
    """Calls that failed for want of rights, from when the filter was there."""
    with open(TRACE) as file:
        lines = file.read().splitlines()
    begun = [number for number, line in enumerate(lines) if "PR_SET_SECCOMP" in line]
    after = lines[begun[0] + 1 :] if begun else ["no filter"]
    failed = [line for line in after if re.search("EPERM|EACCES|ENOSYS|no filter", line)]
    return [line for line in failed if "clone3(" not in line]  # which is told that it is not there


def log() -> list[str]:
    said = subprocess.run(["busybox", "dmesg"], capture_output=True, text=True).stdout
    return [line for line in said.splitlines() if "coredumpd[" in line]


if __name__ == "__main__":
    install()
    told = {"release": os.uname().release, "watched": crash(EXECUTABLE, True)}
    told["pods"] = crash_in_pods()
    told |= {"traced": crash(TRACED, False), "refused": refused(), "log": log()}
    print("\nRESULT " + json.dumps(told), flush=True)
