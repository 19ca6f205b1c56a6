"""Parse and format sizes ("2Gi"), durations ("24h") and RFC 3339 times.

A size is a number of bytes, written as Kubernetes' resource.Quantity; a duration is a number of
seconds, written as for Go's time.ParseDuration, plus "d" for days.
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_BYTES: dict[str | None, int] = {
    None: 1,
    **{unit: 1000 ** (power + 1) for power, unit in enumerate("kMGTP")},
    **{unit + "i": 1024 ** (power + 1) for power, unit in enumerate("KMGTP")},
}
_DURATION = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d))")
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES_MAX = 2**63 - 1

QUANTITY_RULE = 'must be a size such as "512Mi", "2Gi" or a number of bytes'
DURATION_RULE = 'must be a duration such as "30s", "5m", "24h" or "7d"'


def parse_quantity(text: object) -> int:
    """The number of bytes in "2Gi", "1.5G", "4096" or 4096. Raises ValueError(QUANTITY_RULE)."""
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise ValueError(QUANTITY_RULE)
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(QUANTITY_RULE)
    size = int(Decimal(match[1]) * _BYTES[match[2]])
    if size > _BYTES_MAX:
        raise ValueError(QUANTITY_RULE)
    return size


def format_quantity(size: int) -> str:
    """A size for people: "2Gi" for 2147483648; the largest unit that fits, at most one decimal."""
    value, unit = Decimal(size), ""
    for bigger in ("Ki", "Mi", "Gi", "Ti", "Pi"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    text = f"{value:.1f}".removesuffix(".0") if unit else str(size)
    return text + unit


def parse_duration(text: object) -> float:
    """The number of seconds in "24h", "1h30m", "500ms" or "0". Raises ValueError(DURATION_RULE)."""
    if text in ("0", 0) and not isinstance(text, bool):
        return 0.0
    if not isinstance(text, str) or not text:
        raise ValueError(DURATION_RULE)
    total, end = Decimal(0), 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            break
        total, end = total + Decimal(match[1]) * _SECONDS[match[2]], match.end()
    if end != len(text):
        raise ValueError(DURATION_RULE)
    return float(total)


def format_duration(seconds: float) -> str:
    """A duration for people: "3m20s" for 200; at most two units, as `kubectl get` shows an age."""
    remaining = int(seconds)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, remaining = divmod(remaining, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def timestamp(seconds: float | None = None) -> str:
    """A time as metav1.Time writes it: "2026-01-31T12:00:00Z".

    `seconds` since the epoch; None is now.
    """
    utc = datetime.UTC
    now = datetime.datetime.now(utc)
    time = now if seconds is None else datetime.datetime.fromtimestamp(seconds, utc)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: object) -> float:
    """Seconds from the epoch to an RFC 3339 time, UTC if it names no zone. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("must be an RFC 3339 time")
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return time.timestamp()
