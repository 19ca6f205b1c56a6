from __future__ import annotations

import pytest

from coredumpd.formats import core_pattern
from coredumpd.formats import host_dir as host_dirs


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/coredumpd/versions/0123/coredumpd", "/var/lib/coredumpd"),
        ("/d/versions/x/coredumpd", "/d"),
        ("/versions/x/coredumpd", None),
        ("/usr/bin/coredumpd", None),
        ("coredumpd", None),
        ("/d/other/x/coredumpd", None),
    ],
)
def test_a_launcher_knows_the_directory_it_is_installed_in(path: str, expected: str) -> None:
    assert host_dirs.of_launcher(path) == expected


def test_core_pattern_names_the_socket_that_the_agent_makes() -> None:
    assert core_pattern.render_socket("/d") == f"@@/d/{host_dirs.CAPTURE_SOCKET}"
