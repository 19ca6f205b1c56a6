"""Tables on stdout and progress on stderr, for people; both are plain where there is no terminal.

Owner of `rich`, which is imported when it is used: most commands never need it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from coredumpd import ownership, units

if TYPE_CHECKING:
    import rich.progress


def escape(text: str) -> str:
    """`text` with what a terminal would obey, or could not show, as backslash escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def warn_exposed(path: str, forbidden: int, meaning: str) -> None:
    """Warn, as ssh does, of a file with mode bits that are `forbidden`. It is used all the same."""
    try:
        exposure = ownership.exposure(path, forbidden)
    except OSError:
        return  # whoever reads it next has the same error, and reports it
    if exposure is not None:
        print(f"coredumpd: warning: {exposure}; {meaning}", file=sys.stderr)


def table(
    columns: dict[str, str], rows: Sequence[tuple[str, ...]], *, headers: bool = True
) -> None:
    """Print a table of escaped cells; `columns` are titles, if `headers`, and "left" or "right"."""
    import rich.console
    import rich.table
    import rich.text

    grid = rich.table.Table(box=None, pad_edge=False, show_header=headers, header_style="bold")
    for title, side in columns.items():
        grid.add_column(title, justify="right" if side == "right" else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(rich.text.Text(escape(cell)) for cell in row))
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width: cut nothing
    console.print(grid)


class Progress:
    """The bytes done so far, on stderr, while the block runs.

    A terminal shows a bar. Elsewhere a line is printed every `interval_s`; without it, none.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        unit: str | None = None,
        interval_s: float | None = None,
    ) -> None:
        """`total` is in bytes; `unit`, a plural, names and counts the calls of `advance`."""
        self._label = label
        self._total = total
        self._unit = unit
        self._interval_s = interval_s
        self._count = self._bytes = 0
        self._start_s = self._printed_s = time.monotonic()
        self._bar = _bar() if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._task = self._bar.add_task(self._description(), total=self._total or None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int) -> None:
        """Count `size` bytes more."""
        self._count += 1
        self._bytes += size
        if self._bar is not None:
            self._bar.update(self._task, advance=size, description=self._description())
        elif self._interval_s is not None:
            now_s = time.monotonic()
            if now_s - self._printed_s >= self._interval_s:
                self._printed_s = now_s
                print(self._line(now_s - self._start_s), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """No bar while the block runs, which may print to the same terminal."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def _description(self) -> str:
        return self._label if self._unit is None else f"{self._label}: {self._count} {self._unit}"

    def _line(self, elapsed_s: float) -> str:
        count = "" if self._unit is None else f"{self._count} {self._unit}, "
        rate = units.format_quantity(int(self._bytes / max(elapsed_s, 0.001)))
        share = ""
        if self._total:
            left_s = (self._total - self._bytes) * elapsed_s / max(self._bytes, 1)
            share = (
                f" of {units.format_quantity(self._total)}B ({100 * self._bytes // self._total}%,"
                f" {units.format_duration(left_s)} left)"
            )
        return f"{self._label}: {count}{units.format_quantity(self._bytes)}B{share}, {rate}B/s"


def _bar() -> rich.progress.Progress:
    import rich.console
    import rich.progress

    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(binary_units=True),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # it would send to stderr what is printed to a pipe
    )
