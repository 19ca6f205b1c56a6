"""The results of a command: lines for people, or one JSON document for machines."""

from __future__ import annotations

import json
import sys
from typing import Any

from coredumpd import terminal

PROGRESS_INTERVAL_S = 10.0  # between two lines of progress where stderr is no terminal


class Report:
    """Rows, printed as they come, and a summary.

    Each row is a line for people, or an item of the one JSON document, which is never held whole.
    """

    def __init__(self, output: str, rows: str) -> None:
        """`output` is "table" or "json"; `rows` is the name of the list in the JSON document."""
        self._json = output == "json"
        self._count = 0
        if self._json:
            sys.stdout.write('{"' + rows + '": [')

    def row(self, line: str, fields: dict[str, Any]) -> None:
        """Print `line`, with names from a store escaped, or `fields` as JSON."""
        if self._json:
            sys.stdout.write(("," if self._count else "") + "\n  " + json.dumps(fields))
        else:
            print(terminal.escape(line), flush=True)
        self._count += 1

    def end(self, line: str, fields: dict[str, Any]) -> None:
        """Print the summary, as `line` or as further `fields` of the document."""
        if self._json:
            rest = "".join(f",\n {json.dumps(name)}: {json.dumps(fields[name])}" for name in fields)
            print(("\n " if self._count else "") + "]" + rest + "}")
        else:
            print(line)
