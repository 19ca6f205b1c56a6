"""Structured logging per role: `kmsg` for the handler, JSON for the daemons, text for people.

Hostile bytes end up in logs, so every line is escaped: no newline, no control character, bounded.
`logging` is imported inside `configure` because the crash path imports this module.
"""

from __future__ import annotations

STYLES = ("json", "text", "plain")


def escape(text: object) -> str:
    """`text` with everything but printable ASCII escaped, so one event stays one line."""
    return str(text).encode("ascii", "backslashreplace").decode().translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def configure(role: str, style: str) -> None:
    """Send `logging` to stderr in a style of STYLES. A command calls it once, before it logs.

    `json` is one object a line and `text` the same for people to read, both from INFO on; `plain`
    is for commands that people run: warnings and errors, as `coredumpd: MESSAGE`.
    """
    import json
    import logging

    class Formatter(logging.Formatter):
        def format(self, entry: logging.LogRecord) -> str:
            fields = {
                "time": self.formatTime(entry, "%Y-%m-%dT%H:%M:%S%z"),
                "level": entry.levelname.lower(),
                "role": role,
                "message": escape(entry.getMessage()),
            }
            if style == "plain":
                return f"coredumpd: {fields['message']}"
            fields |= getattr(entry, "fields", {})
            if entry.exc_info:
                fields["exception"] = escape(self.formatException(entry.exc_info))
            if style == "json":
                return json.dumps(fields, default=str)
            extra = " ".join(f"{name}={escape(value)}" for name, value in list(fields.items())[4:])
            return f"{fields['time']} {entry.levelname:7} {fields['message']} {extra}".rstrip()

    stream = logging.StreamHandler()
    stream.setFormatter(Formatter())
    level = logging.WARNING if style == "plain" else logging.INFO
    logging.basicConfig(level=level, handlers=[stream], force=True)
    # It has a line for every malformed request, of which a stranger can send any number.
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
