from __future__ import annotations

import json

from coredumpd.storetool import report as show


def test_what_a_terminal_would_obey_is_escaped():
    assert show.escaped("a\x1b[2Jb\n\udcff") == "a\\x1b[2Jb\\n\\udcff"
    assert show.escaped("héllo/wörld") == "héllo/wörld"


def test_a_report_is_one_json_document(capsys):
    for rows in range(3):
        report = show.Report("json", "findings")
        for number in range(rows):
            report.row("for people", {"n": number})
        report.end("for people", {"total": rows})
        said = json.loads(capsys.readouterr().out)
        assert said == {"findings": [{"n": n} for n in range(rows)], "total": rows}


def test_progress_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(show, "_EVERY_S", 0)
    progress = show.Progress("copied", 2048)
    progress.advance(1024)
    progress.close()
    said = capsys.readouterr()
    assert "copied: 1 dumps, 1KiB of 2KiB (50%" in said.err
    assert said.out == ""
