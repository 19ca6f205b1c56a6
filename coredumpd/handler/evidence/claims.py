"""Which cgroup a runtime's state file asks for, and whether a process is in that very one. Pure.

Needed where a process is below no kubepods: then this is the only link between the two.
"""

from __future__ import annotations

_KATA_OVERHEAD = "/kata_overhead"  # the VMM's, without sandbox_cgroup_only


def is_claimed(path: str, claim: str, root: str) -> bool:
    """Is a container's cgroup `path` the one that its OCI `cgroupsPath`, `claim`, asks for?

    The runtime takes it from its own root, which for us may be `root` (runtime-spec, config-linux;
    systemd.slice(5): `a-b.slice` is in `a.slice`).
    """
    slice_name, colon, unit = claim.partition(":")
    expected = _parts(claim)
    if colon:
        prefix, _, name = unit.partition(":")
        words = slice_name.removesuffix(".slice").split("-")
        slices = ["-".join(words[: count + 1]) + ".slice" for count in range(len(words))]
        expected = [*slices, f"{prefix}-{name}.scope"]
    return _parts(path) in (expected, _parts(root) + expected)


def is_kata_overhead(path: str) -> bool:
    """Is `path` the cgroup in which kata puts a sandbox's VMM beside its pod's?"""
    return path.rpartition("/")[0] == _KATA_OVERHEAD


def is_docker_default(path: str) -> bool:
    """Is `path` where docker puts a container that has no parent? Its state file says no path."""
    above, _, name = path.rpartition("/")
    systemd = above == "/system.slice" and name.startswith("docker-")
    return systemd or above == "/docker"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
