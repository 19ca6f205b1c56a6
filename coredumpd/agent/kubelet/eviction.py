"""A kubelet's eviction thresholds: parsed from its configuration and its flags. Pure.

Sources: kubernetes.io, "Node-pressure Eviction" and "kubelet-config.v1beta1"; the rules about 0 %,
100 % and defaults are those of pkg/kubelet/eviction/helpers.go and of pkg/kubelet/apis/config.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from coredumpd import errors, units

# By signal; of a disk's signals alone, on Linux.
DEFAULTS = {
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
SIGNALS = (*DEFAULTS, "containerfs.available", "containerfs.inodesFree")
# Above a threshold at which pods are evicted, so much of the disk is left to others than captures.
# Below imagefs.available a kubelet removes unused images first, so that needs no margin.
MARGIN_PERCENT = 5
_WITHOUT_MARGIN = "imagefs.available"
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_TEXT_CHARS_MAX = 200


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One signal's: of the disk `percent`, or `amount` bytes or inodes."""

    signal: str
    percent: float = 0.0
    amount: int = 0

    def of(self, total: int) -> int:
        """Bytes or inodes of a disk of `total` that must be free for this threshold."""
        margin = 0 if self.signal == _WITHOUT_MARGIN else MARGIN_PERCENT
        return min(total, int(total * (self.percent + margin) / 100) + self.amount)


def defaults() -> list[Threshold]:
    """Those of a kubelet that is told nothing else."""
    return of_configuration({}, None, None)[0]


def keep(thresholds: Iterable[Threshold], total: int, inodes: bool = False) -> int:
    """Of a disk of `total` bytes, or inodes, how many must stay free for all `thresholds`."""
    ours = (one for one in thresholds if one.signal.endswith(".inodesFree") == inodes)
    return max((one.of(total) for one in ours), default=0)


def threshold(signal: str, text: object) -> Threshold | None:
    """One by its signal and value, "10%" or "1Gi"; None: there is none, as for 0 % and 100 %.

    Raises Invalid, which names both.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    problem = f"{signal}: {str(text)[:_TEXT_CHARS_MAX]!r}: must be a percentage or a quantity"
    if not isinstance(text, str):
        raise errors.Invalid(problem)
    match = _PERCENT.fullmatch(text)
    if match is not None:
        percent = float(match[1])
        if percent > 100:
            raise errors.Invalid(problem)
        return None if percent in (0, 100) else Threshold(signal, percent=percent)
    try:
        amount = units.parse_quantity(text)
    except ValueError as error:
        raise errors.Invalid(problem) from error
    return Threshold(signal, amount=amount) if amount else None


def of_configuration(
    document: Mapping[str, Any], hard: str | None, soft: str | None
) -> tuple[list[Threshold], list[str]]:
    """The thresholds that a kubelet has, by its configuration and its two flags, and problems.

    Of a value that cannot be parsed, the default of its signal counts, and a problem names it.
    `hard` and `soft` are the values of --eviction-hard and --eviction-soft, which replace what the
    configuration has.
    """
    problems: list[str] = []
    signals = _signals(document.get("evictionHard"), hard, "evictionHard", problems)
    if signals is None or document.get("mergeDefaultEvictionSettings") is True:
        signals = DEFAULTS | (signals or {})
    soft_signals = _signals(document.get("evictionSoft"), soft, "evictionSoft", problems) or {}
    thresholds = []
    for signal, text in (*signals.items(), *soft_signals.items()):
        if signal not in SIGNALS:
            continue  # of memory or process ids
        try:
            one = threshold(signal, text)
        except errors.Invalid as error:
            problems.append(error.message)
            one = threshold(signal, DEFAULTS.get(signal, "0%"))
        thresholds += [] if one is None else [one]
    return thresholds, problems


def _signals(
    section: object, flag: str | None, name: str, problems: list[str]
) -> dict[str, Any] | None:
    """Values by signal; None: the kubelet is told nothing."""
    if flag is not None:
        pairs = (word.partition("<") for word in flag.split(",") if word)
        return {signal.strip(): text.strip() for signal, _, text in pairs}
    if section is None or isinstance(section, Mapping):
        return None if section is None else {str(key): value for key, value in section.items()}
    problems.append(f"{name}: must be a mapping of signals")
    return None
