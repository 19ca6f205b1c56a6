from __future__ import annotations

import pytest

from coredumpd import commandline, errors


def test_a_wrong_argument_is_a_usage_error_that_shows_the_usage():
    parser = commandline.Parser(prog="coredumpd role")
    parser.add_argument("--name")
    with pytest.raises(errors.UsageError, match="--nmae") as caught:
        parser.parse_args(["--nmae=x"])
    assert str(caught.value).endswith("usage: coredumpd role [-h] [--name NAME]")
    assert caught.value.exit_code == 2
