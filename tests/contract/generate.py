"""Write the documents that are generated from the code: `make update`. The checks: test_docs.py."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from coredumpd import cli, errors  # noqa: E402
from coredumpd.agent.selftest import causes  # noqa: E402
from coredumpd.formats import record as records  # noqa: E402
from coredumpd.settings import schema, sections  # noqa: E402

TABLE_BEGINS = "<!-- from coredumpd/formats/record.py, by `make update` -->\n"
CAUSES_BEGIN = "<!-- from coredumpd/agent/selftest/causes.py, by `make update` -->\n"
TABLE_ENDS = "<!-- end of the table -->\n"
COMMANDS = (
    (),
    ("handle",),
    ("agent",),
    ("agent", "install"),
    ("agent", "uninstall"),
    ("server",),
    ("store",),
    ("store", "check"),
    ("store", "repair"),
    ("store", "usage"),
    ("store", "migrate"),
    ("config",),
    ("config", "check"),
    ("config", "schema"),
    ("list",),
    ("info",),
    ("watch",),
    ("download",),
    ("rm",),
    ("demo",),
)


def documents() -> Iterator[tuple[Path, str]]:
    """Each generated file with what it should hold now."""
    yield ROOT / "docs/cli-help.txt", cli_help()
    yield ROOT / "docs/settings.md", settings_page()
    yield ROOT / "docs/settings.schema.json", json.dumps(schema.document(), indent=2) + "\n"
    yield ROOT / "docs/exit-codes.md", exit_codes_page()
    formats = ROOT / "docs/formats.md"
    yield formats, with_table(formats.read_text(), record_table())
    operations = ROOT / "docs/operations.md"
    yield operations, with_table(operations.read_text(), causes_table(), CAUSES_BEGIN)


def cli_help() -> str:
    os.environ["COLUMNS"] = "100"
    pages = []
    for command in COMMANDS:
        words = [*command, "--help"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            cli.main(words)
        pages.append(f"$ coredumpd {' '.join(words)}\n{out.getvalue()}")
    return "\n".join(pages)


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "One YAML file, `--config FILE` (in a cluster: the key `config.yaml` of the ConfigMap).",
        "A field that is not listed here is refused. `coredumpd config check FILE` reports every",
        "mistake at once, with its line, before the file is used; FILE may be the ConfigMap, too.",
        "Its JSON Schema, for editors and programs: [settings.schema.json](settings.schema.json).",
    ]
    for name, kind in sections.SECTIONS.items():
        lines += [
            "",
            f"## `{name}`",
            "",
            "| field | default | rule | meaning |",
            "|---|---|---|---|",
        ]
        for field in dataclasses.fields(kind):
            default = field.metadata["default"]
            shown = "" if default is None else f"`{default}`"
            if isinstance(default, list):
                shown = "<br>".join(f"`{item}`" for item in default)
            row = (f"`{field.name}`", shown, field.metadata["rule"], field.metadata["doc"])
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def exit_codes_page() -> str:
    lines = [
        "# Exit codes, HTTP statuses and reasons",
        "",
        "One class of error, one code of each. Exit codes follow sysexits.h, 2 is a usage error.",
        "",
        "| error | exit code | HTTP status | reason | meaning |",
        "|---|---|---|---|---|",
    ]
    kinds = [kind for kind in _tree(errors.CoredumpdError) if kind.__module__ == errors.__name__]
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        meaning = " ".join((kind.__doc__ or "").split())
        row = (kind.__name__, str(kind.exit_code), str(kind.http_status), kind.reason, meaning)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def record_table() -> str:
    """The fields of meta.json as a Markdown table."""
    lines = ["| field | type | | written by | meaning |", "|---|---|---|---|---|"]
    for path, kind, presence, writer, meaning in records.FIELDS:
        lines.append(f"| `{path}` | {kind} | {presence} | {writer} | {meaning} |")
    return "\n".join(lines) + "\n"


def causes_table() -> str:
    """The outcomes of a self-test as a Markdown table; `…` stands for what a node fills in."""
    lines = ["| result | `/healthz` | sentence | what to do |", "|---|---|---|---|"]
    for cause in causes.CAUSES:
        texts = (re.sub(r"\{[^}]*\}", "…", text) for text in (cause.sentence, cause.remedy))
        health = "503" if cause.fails else "200"
        lines.append(f"| `{cause.name}` | {health} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def with_table(page: str, table: str, begins: str = TABLE_BEGINS) -> str:
    """`page` with `table` between its two marks."""
    before, rest = page.split(begins)
    after = rest.split(TABLE_ENDS, 1)[1]
    return f"{before}{begins}{table}{TABLE_ENDS}{after}"


def _tree(kind: type[errors.CoredumpdError]) -> set[type[errors.CoredumpdError]]:
    return {kind}.union(*(_tree(child) for child in kind.__subclasses__()))


if __name__ == "__main__":
    for path, text in documents():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
