from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import log


@given(st.text())
def test_whatever_is_logged_stays_one_printable_line(text: str) -> None:
    assert all(32 <= ord(char) < 127 for char in log.escape(text))


def test_a_newline_cannot_forge_a_second_entry() -> None:
    assert log.escape("a\n<0>b") == "a\\x0a<0>b"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, whose handlers and level are put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("style", log.STYLES)
def test_every_style_writes_one_line_with_the_message(
    style: str, root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("agent", style)
    root_logger.warning("a\nb")
    (line,) = capsys.readouterr().err.splitlines()
    message = json.loads(line)["message"] if style == "json" else line
    assert "a\\x0ab" in message


def test_a_command_that_people_run_shows_them_no_information(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("store", "plain")
    root_logger.info("read 3 dumps")
    root_logger.warning("one is cut")
    assert capsys.readouterr().err == "coredumpd: one is cut\n"


def test_a_strangers_malformed_requests_are_no_lines(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("agent", "json")
    logging.getLogger("tornado.general").info("Malformed HTTP message from 10.0.0.1")
    assert capsys.readouterr().err == ""
