"""Which files a capture still needs, as a Landlock ruleset (landlock(7)). Pure.

Its rights grow with the kernel's ABI, which is asked for: what a kernel does not know, it would
refuse. Descriptors that are open already are not affected.
"""

from __future__ import annotations

# LANDLOCK_ACCESS_FS_*, include/uapi/linux/landlock.h.
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
TRUNCATE = 1 << 14  # ABI 3

# The capture's own directory: meta.json is written anew and renamed.
OWN = READ_FILE | WRITE_FILE | READ_DIR | REMOVE_FILE | MAKE_REG | TRUNCATE
# The spool: the capture's directory gets its final name. What other captures hold is out of reach.
SPOOL = MAKE_DIR | REMOVE_DIR
LOG = WRITE_FILE

_ALL_NET, _ALL_SCOPES = 0x3, 0x3  # TCP bind and connect; abstract sockets, signals
_NET_ABI, _SCOPE_ABI = 4, 6


def all_files(abi: int) -> int:
    """Every right over files that this ABI, 1 or more, knows."""
    rights_by_abi = {
        1: 13,
        2: 14,
        3: 15,
        4: 15,
    }  # 5 adds ioctl(2) on devices; later ones nothing so far
    return (1 << rights_by_abi.get(abi, 16)) - 1


def ruleset(abi: int) -> bytes:
    """struct landlock_ruleset_attr, as long as this ABI has it: all is refused, but by rule."""
    fields = [all_files(abi)]
    if abi >= _NET_ABI:
        fields.append(_ALL_NET)
    if abi >= _SCOPE_ABI:
        fields.append(_ALL_SCOPES)
    return b"".join(field.to_bytes(8, "little") for field in fields)


def rule(abi: int, allowed: int, beneath: int) -> bytes:
    """struct landlock_path_beneath_attr: what is `allowed` at or below the descriptor `beneath`."""
    return (allowed & all_files(abi)).to_bytes(8, "little") + beneath.to_bytes(4, "little")
