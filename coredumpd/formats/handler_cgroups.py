"""The cgroups that handlers enter: `<hostDir>/handler.cgroups`, one path of a cgroup.procs a line.

The guard makes the cgroups and writes the file; no file: the node gives handlers none of their own.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

from coredumpd import errors

BYTES_MAX = 8192
CGROUPS_MAX = 4  # one of each hierarchy that matters: cpu and memory
PROCS = "/cgroup.procs"


def render(directories: list[str]) -> bytes:
    """The file's bytes, from the directories of the cgroups as the host sees them."""
    return "".join(f"{directory}{PROCS}\n" for directory in directories).encode()


def parse(data: bytes) -> list[str]:
    """The paths of the cgroup.procs to write to. Raises BadRecord."""
    paths = data.decode("utf-8", "surrogateescape").splitlines()
    good = all(path.startswith("/") and path.endswith(PROCS) and "\0" not in path for path in paths)
    if len(data) > BYTES_MAX or len(paths) > CGROUPS_MAX or not good:
        rule = f"must be at most {CGROUPS_MAX} absolute paths of a cgroup.procs"
        raise errors.BadRecord(f"handler.cgroups: {rule}")
    return paths
