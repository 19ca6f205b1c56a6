"""Warning headers (RFC 9111, section 5.5), which kubectl prints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

HEADERS_MAX = 50
BYTES_MAX = 4096  # of all together, as in k8s.io/apiserver
_TEXT_CHARS_MAX = 256
_ROOM = 100  # for the last one, which counts the rest


def headers(texts: Iterable[str]) -> Iterator[str]:
    """The values of the headers: as many `texts` as fit, then how many were left out."""
    count = size = omitted = 0
    for text in texts:
        value = _header(text)
        if omitted or count == HEADERS_MAX - 1 or size + len(value) > BYTES_MAX - _ROOM:
            omitted += 1
            continue
        count += 1
        size += len(value)
        yield value
    if omitted:
        yield _header(f"{omitted} more warnings are left out")


def _header(text: str) -> str:
    """ASCII alone, as a quoted string; what cannot be printed is a question mark."""
    ascii_ = text[:_TEXT_CHARS_MAX].encode("ascii", "replace").decode()
    printable = "".join(char if char.isprintable() else "?" for char in ascii_)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
