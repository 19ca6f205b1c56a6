"""How far a download is: a bar on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def of(what: str, size: int) -> Iterator[Callable[[int], None]]:
    """While the block runs; call what it gives with the number of bytes that have come."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    import rich.console
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(binary_units=True),
        rich.progress.TransferSpeedColumn(),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(what, total=size or None)
        yield lambda count: shown.advance(task, count)
