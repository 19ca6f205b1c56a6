"""Tar headers: POSIX ustar, with a pax record where a number or a name outgrows it.

POSIX.1-2017, pax(1), "ustar Interchange Format". `tarfile` could make them, but it leaves the size
field zero beside a pax size, and busybox skips pax headers: for cores above 8 GiB we write the
size twice, as a pax record and as GNU's base-256 number in the field, which every reader takes.
"""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
OCTAL_SIZE_MAX = 0o77777777777  # eleven octal digits: 8 GiB - 1
_MODE = 0o600
END = bytes(2 * BLOCK)


def header(name: str, size: int, mtime: int, pax: Mapping[str, str] | None = None) -> bytes:
    """All blocks that precede a regular file's bytes: mode 0600, uid and gid 0, no owner names.

    `name` is ASCII; `pax` are more pax records. One 512-byte block, or three or more with a pax
    header.
    """
    prefix, short = _split(name)
    records = b"".join(_record(keyword, value) for keyword, value in (pax or {}).items())
    if short is None:
        records += _record("path", name)
        prefix, short = "", name[-100:].lstrip("/")
    if size > OCTAL_SIZE_MAX:
        records += _record("size", str(size))
    extended = b""
    if records:
        extended = _block("", "PaxHeader", len(records), mtime, b"x") + records
        extended += padding(len(records))
    return extended + _block(prefix, short, size, mtime, b"0")


def padding(size: int) -> bytes:
    """The zeros after `size` bytes of a file, up to the next block."""
    return bytes(-size % BLOCK)


def _split(name: str) -> tuple[str, str | None]:
    """`name` as (prefix, name) fields; (.., None) when no slash lets it fit into 155 + 100."""
    if len(name) <= 100:
        return "", name
    slash = name.rfind("/", 0, 156)
    if slash > 0 and 0 < len(name) - slash - 1 <= 100:
        return name[:slash], name[slash + 1 :]
    return "", None


def _record(keyword: str, value: str) -> bytes:
    """A pax record: its own length, in decimal and counting itself, a space, keyword=value."""
    rest = f" {keyword}={value}\n"
    length = len(rest) + 1
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return f"{length}{rest}".encode("ascii")


def _block(prefix: str, name: str, size: int, mtime: int, kind: bytes) -> bytes:
    number = b"%011o\0" % size
    if size > OCTAL_SIZE_MAX:
        number = b"\x80" + size.to_bytes(11, "big")
    block = b"".join(
        (
            name.encode("ascii").ljust(100, b"\0"),
            b"%07o\0" % _MODE,
            b"%07o\0" % 0,  # uid
            b"%07o\0" % 0,  # gid
            number,
            b"%011o\0" % min(max(mtime, 0), OCTAL_SIZE_MAX),
            b" " * 8,  # the checksum counts itself as spaces
            kind,
            bytes(100),  # link name
            b"ustar\x0000",
            bytes(64),  # user and group names
            b"%07o\0" % 0,  # device numbers
            b"%07o\0" % 0,
            prefix.encode("ascii").ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
