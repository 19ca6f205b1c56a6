"""One line a measurement: name, value, ratio to the peer, the bar, and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`ratio` is ours to the peer's, `at_most` or `at_least` its bar; None for information."""

    name: str
    value: str
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def short(self) -> bool:
        """Is the bar missed?"""
        if self.ratio is None:
            return False
        too_much = self.at_most is not None and self.ratio > self.at_most
        return too_much or (self.at_least is not None and self.ratio < self.at_least)

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        bar = ""
        if self.at_most is not None:
            bar = f"<= {self.at_most:g}x"
        elif self.at_least is not None:
            bar = f">= {self.at_least:g}x"
        verdict = ("SHORT" if self.short else "ok") if bar else ""
        return f"{self.name:44} {self.value:>26} {ratio:>8} {bar:>9} {verdict}".rstrip()


def skipped(name: str, why: str) -> Line:
    """A line for a quantity that could not be measured; it is not a missed bar."""
    return Line(f"{name}: SKIPPED, {why}", "")
