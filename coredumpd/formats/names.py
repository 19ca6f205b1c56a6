"""Names: those that Kubernetes accepts, and the ids of dumps.

No dataclasses, typing or re: the crash path imports this module.
"""

from __future__ import annotations

# No Kubernetes namespace can have these names.
HOST_NAMESPACE = "_host"
SELF_TEST_TENANT = "_self-test"
# The "container" of a crash in a pod that is none of its containers': the sandbox. CRI-O and
# cri-dockerd call it so; no container can have capitals in its name.
SANDBOX = "POD"
ID_BYTES_MAX = 63
_MEMFD = "/memfd:"  # memfd_create(2): the path that /proc gives to a program in memory
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_UID_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ") | _NAME_CHARS


def is_dns_label(text: str) -> bool:
    """RFC 1123 label: what Kubernetes accepts as a namespace or container name."""
    return 0 < len(text) <= 63 and set(text) <= _NAME_CHARS and "-" not in (text[0], text[-1])


def is_container(text: str) -> bool:
    """The name of a pod's container, or SANDBOX."""
    return text == SANDBOX or is_dns_label(text)


def is_dns_subdomain(text: str) -> bool:
    """RFC 1123 subdomain: what Kubernetes accepts as a pod or node name."""
    return 0 < len(text) <= 253 and all(
        label and set(label) <= _NAME_CHARS and "-" not in (label[0], label[-1])
        for label in text.split(".")
    )


def is_uid(text: str) -> bool:
    """A pod uid as the API takes it: `[A-Za-z0-9-]{1,128}`."""
    return 0 < len(text) <= 128 and set(text) <= _UID_CHARS


def slug(raw: str, length_max: int) -> str:
    """`raw` as a DNS subdomain of at most `length_max` bytes; "unknown" when nothing is left."""
    chars = "".join(char if char in _NAME_CHARS or char == "." else "-" for char in raw.lower())
    labels = (label.strip("-") for label in chars[:length_max].split("."))
    return ".".join(label for label in labels if label) or "unknown"


def program(exe: str | None, comm: str) -> str:
    """The short name of the program at the path `exe`, of a memfd its own; else `comm`'s."""
    path = exe or ""
    if path.startswith(_MEMFD):
        return path.removeprefix(_MEMFD) or comm  # such as runc's: runc_cloned:/proc/self/exe
    return (path or comm).rpartition("/")[2]


def make_id(exe: str, time_s: int, pid: int, nonce: int) -> str:
    """`<exe>-<YYYYMMDD>t<HHMMSS>z-<pid>-<4 hex>`: a valid object name, at most 63 bytes."""
    import time  # built in; kept from module level for the crash path's sake

    when = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(min(time_s, 253402300799)))
    tail = f"-{when}-{pid}-{nonce & 0xFFFF:04x}"
    return slug(exe, ID_BYTES_MAX - len(tail)) + tail


def id_time(id: str) -> int:
    """Seconds since the epoch that `make_id` put into `id`; 0 for an id it did not make."""
    import calendar  # not for the crash path
    import time

    parts = id.rsplit("-", 3)
    try:
        return calendar.timegm(time.strptime(parts[1], "%Y%m%dt%H%M%Sz"))
    except (IndexError, ValueError):
        return 0


def pid_of(id: str) -> int | None:
    """The process that `make_id` put into `id`, any suffix behind it; None for other names."""
    parts = id.rsplit("-", 3)
    plain = len(parts) == 4 and parts[2].isascii() and parts[2].isdecimal()
    return int(parts[2]) if plain and len(parts[2]) <= len(str(2**22)) else None
