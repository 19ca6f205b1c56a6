from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.store import prefix


def test_a_prefix_is_the_names_given():
    assert prefix.prefix(None, None, None) == ()
    assert prefix.prefix("team-a", "u1", None) == ("team-a", "u1")


def test_a_gap_is_refused():
    with pytest.raises(errors.BadRequest):
        prefix.prefix("team-a", None, "app")


def test_a_name_that_is_none_is_refused():
    with pytest.raises(errors.Invalid, match="namespace"):
        prefix.prefix("..", None, None)


def test_a_path_is_split_into_its_names():
    assert prefix.names("a/b/c") == ["a", "b", "c"]
    assert prefix.names("a/empty/") == ["a", "empty"]
