"""Tables for people, JSON for machines, progress on stderr. Names from a store are escaped."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from coredumpd import units

_EVERY_S = 10.0  # between two lines of progress where stderr is no terminal


def escaped(text: str) -> str:
    """`text` with what a terminal would obey, or could not show, as backslash escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Report:
    """Rows as they come: a line each for people; one JSON document, streamed, for machines."""

    def __init__(self, output: str, rows: str) -> None:
        self._json = output == "json"
        self._count = 0
        if self._json:
            sys.stdout.write('{"' + rows + '": [')

    def row(self, line: str, fields: dict[str, Any]) -> None:
        if self._json:
            sys.stdout.write(("," if self._count else "") + "\n  " + json.dumps(fields))
        else:
            print(escaped(line), flush=True)
        self._count += 1

    def end(self, line: str, fields: dict[str, Any]) -> None:
        if self._json:
            rest = "".join(f",\n {json.dumps(name)}: {json.dumps(fields[name])}" for name in fields)
            print(("\n " if self._count else "") + "]" + rest + "}")
        else:
            print(line)


def table(columns: dict[str, str], rows: list[tuple[str, ...]]) -> None:
    """A table on stdout; `columns` are titles and "left" or "right"."""
    import rich.console
    import rich.table
    import rich.text

    shown = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for title, side in columns.items():
        shown.add_column(title, justify="right" if side == "right" else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(rich.text.Text(escaped(cell)) for cell in row))
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width: cut nothing
    console.print(shown)


class Progress:
    """How far it is, on stderr: one line rewritten on a terminal, else one every ten seconds."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._dumps = self._bytes = 0
        self._began = self._said = time.monotonic()
        self._tty = sys.stderr.isatty()

    def advance(self, size: int) -> None:
        """One dump more, of `size` bytes."""
        self._dumps += 1
        self._bytes += size
        now = time.monotonic()
        if now - self._said >= (0.2 if self._tty else _EVERY_S):
            self._said = now
            print(self._line(now), end="\r" if self._tty else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._tty:
            print("\x1b[K", end="", file=sys.stderr, flush=True)  # clear the line

    def _line(self, now: float) -> str:
        rate = units.format_quantity(int(self._bytes / max(now - self._began, 0.001)))
        done = units.format_quantity(self._bytes)
        share = ""
        if self._total:
            left_s = (self._total - self._bytes) * (now - self._began) / max(self._bytes, 1)
            share = (
                f" of {units.format_quantity(self._total)}B ({100 * self._bytes // self._total}%,"
                f" {units.format_duration(left_s)} left)"
            )
        clear = "\x1b[K" if self._tty else ""
        return f"{self._what}: {self._dumps} dumps, {done}B{share}, {rate}B/s{clear}"
