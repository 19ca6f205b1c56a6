from __future__ import annotations

import json

from coredumpd.storetool import report as reports


def test_a_report_is_one_json_document(capsys):
    for rows in range(3):
        report = reports.Report("json", "findings")
        for number in range(rows):
            report.row("for people", {"n": number})
        report.end("for people", {"total": rows})
        document = json.loads(capsys.readouterr().out)
        assert document == {"findings": [{"n": n} for n in range(rows)], "total": rows}
