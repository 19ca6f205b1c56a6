from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.server import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--config FILE is needed, or --standalone"),
        (["--standalone"], "--standalone needs --data-dir DIR"),
        (["--standalone", "--data-dir", "d", "--port", "70000"], "must be from 0 to 65535"),
        (["--standalone", "--config", "f"], "--config cannot be given with --standalone"),
        (["--config", "f", "--data-dir", "d"], "--data-dir is for --standalone"),
        (["--port", "many"], "invalid int value"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(words, message):
    with pytest.raises(errors.UsageError, match=message):
        main.main(words)
