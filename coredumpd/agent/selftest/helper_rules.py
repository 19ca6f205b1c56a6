"""The rules of a kernel about its own helper programs: SELinux, and a static user-mode helper.

security/selinux/selinuxfs.c; CONFIG_STATIC_USERMODEHELPER (kernel/umh.c): with it the kernel runs
one fixed program in place of each helper, or none, and core_pattern's pipe never reaches ours.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from pathlib import Path

from coredumpd import errors
from coredumpd.agent.node import host_namespaces

CONFIG_BYTES_MAX = 4 * 1024 * 1024
_ATTRIBUTE = "security.selinux"
_LABEL_CHARS_MAX = 256
# The distribution's own coredump helper: the kernel may run it, so it may run what is labelled so.
HELPERS = ("usr/lib/systemd/systemd-coredump", "lib/systemd/systemd-coredump")
_STATIC = re.compile(r"^CONFIG_STATIC_USERMODEHELPER=y$", re.M)
_STATIC_PATH = re.compile(r'^CONFIG_STATIC_USERMODEHELPER_PATH="(.*)"$', re.M)


def static_helper(root: Path = Path("/"), release: str | None = None) -> str | None:
    """The one program that this kernel runs, "" for none; None for a kernel without such a rule.

    Read from the kernel's configuration, where it is to be had; `root` is the host's.
    """
    text = host_namespaces.call(_configuration, root, release or os.uname().release)
    if not _STATIC.search(text):
        return None
    path = _STATIC_PATH.search(text)
    return path[1] if path else ""


def _configuration(root: Path, release: str) -> str:
    compressed = root / "proc/config.gz"
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(compressed) as file:
        return file.read(CONFIG_BYTES_MAX).decode("utf-8", "replace")
    for name in (f"boot/config-{release}", f"usr/lib/modules/{release}/config"):
        with contextlib.suppress(OSError), open(root / name, "rb") as plain:
            return plain.read(CONFIG_BYTES_MAX).decode("utf-8", "replace")
    return ""


def selinux_enforces(root: Path = Path("/")) -> bool:
    """Is SELinux there, and enforcing?"""
    try:
        return (root / "sys/fs/selinux/enforce").read_text().strip() == "1"
    except OSError:
        return False


def label(path: str) -> str:
    """The SELinux context of a file; "" when it has none."""
    try:
        raw = os.getxattr(path, _ATTRIBUTE)
    except OSError:
        return ""
    return raw.rstrip(b"\0").decode("utf-8", "backslashreplace")[:_LABEL_CHARS_MAX]


def label_as_helper(launcher: str, root: Path = Path("/")) -> str | None:
    """Label `launcher` as the distribution's own coredump helper is; the label it had before.

    None when there is no such helper, when the label is that already, or when it is refused.
    """
    try:
        wanted = host_namespaces.call(_helper_label, root)
    except errors.Forbidden:
        wanted = ""
    before = label(launcher)
    if wanted in ("", before) or not put_label(launcher, wanted):
        return None
    return before


def put_label(path: str, context: str) -> bool:
    """Set a file's SELinux context; was it allowed?"""
    try:
        os.setxattr(path, _ATTRIBUTE, context.encode() + b"\0")
    except OSError:
        return False
    return True


def _helper_label(root: Path) -> str:
    return next((found for name in HELPERS if (found := label(str(root / name)))), "")
