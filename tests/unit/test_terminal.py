from __future__ import annotations

import contextlib
import io

import pytest

from coredumpd import terminal


class Screen(io.StringIO):
    """A terminal; tests redirect to it, since pytest sets its own stderr after the fixtures."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Screen()


def test_what_a_terminal_would_obey_is_escaped():
    assert terminal.escape("a\x1b[2Jb\n\udcff") == "a\\x1b[2Jb\\n\\udcff"
    assert terminal.escape("héllo/wörld") == "héllo/wörld"


def test_a_table_in_a_pipe_is_plain_and_not_cut(capsys):
    terminal.table({"NAME": "left", "BYTES": "right"}, [("x" * 500, "1"), ("\x1b[2J", "22")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "BYTES"],
        ["x" * 500, "1"],
        ["\\x1b[2J", "22"],
    ]


def test_progress_elsewhere_than_on_a_terminal_is_lines(capsys):
    with terminal.Progress("copied", 2048, unit="dumps", interval_s=0) as progress:
        progress.advance(1024)
    output = capsys.readouterr()
    assert "copied: 1 dumps, 1KiB of 2KiB (50%" in output.err
    assert "\x1b" not in output.err
    assert output.out == ""


def test_progress_without_an_interval_is_silent_elsewhere_than_on_a_terminal(capsys):
    with terminal.Progress("copied", 2048) as progress:
        progress.advance(1024)
        with progress.hidden():
            print("a row")
    assert capsys.readouterr() == ("a row\n", "")


def test_a_terminal_has_a_bar_which_the_end_removes(screen):
    with (
        contextlib.redirect_stderr(screen),
        terminal.Progress("copied", 2048, unit="dumps") as progress,
    ):
        progress.advance(1024)
    assert "copied: 1 dumps" in screen.getvalue()
    assert "1.0/2.0 KiB" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


def test_rows_printed_beside_a_bar_stay_on_stdout(screen, capsys):
    with contextlib.redirect_stderr(screen), terminal.Progress("checked", unit="dumps") as progress:
        with progress.hidden():
            print("a row")
        progress.advance(1)
    assert capsys.readouterr().out == "a row\n"
    assert "checked: 1 dumps" in screen.getvalue()
    assert "a row" not in screen.getvalue()
