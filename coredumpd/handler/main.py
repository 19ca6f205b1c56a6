"""`coredumpd handler`."""

from __future__ import annotations

from coredumpd import errors


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    raise errors.UsageError(f"not built yet: {words}")
