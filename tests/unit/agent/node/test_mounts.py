from __future__ import annotations

import pytest

from coredumpd.agent.node import mounts

# As on a node: hostDir is a directory of /var, and a mount of its own in the agent's container.
HOST = """\
20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
21 20 8:2 / /var rw,nosuid,noexec,relatime shared:2 - xfs /dev/sda2 rw
22 20 0:5 / /var/lib/with\\040space rw - tmpfs none rw
23 21 0:6 / /var/library rw - tmpfs none rw
"""
CONTAINER = """\
90 1 0:99 / / ro,relatime - overlay overlay rw
91 90 8:2 /lib/coredumpd /var/lib/coredumpd rw,relatime master:2 - xfs /dev/sda2 rw
"""


def place(table: str, directory: str) -> mounts.Place:
    found = mounts.locate(table, directory)
    assert found is not None
    return found


def test_a_directory_is_the_same_through_another_mount() -> None:
    host, own = (place(table, "/var/lib/coredumpd") for table in (HOST, CONTAINER))
    assert (host.device, host.path) == ("8:2", "/lib/coredumpd")
    assert own.is_same(host)
    assert (host.noexec, own.noexec) == (True, False)


def test_an_empty_dir_of_the_same_name_is_another() -> None:
    hidden = CONTAINER + "92 91 0:50 / /var/lib/coredumpd rw - tmpfs none rw\n"
    assert not place(hidden, "/var/lib/coredumpd").is_same(place(HOST, "/var/lib/coredumpd"))


@pytest.mark.parametrize(
    ("directory", "device", "path"),
    [
        ("/", "8:1", "/"),
        ("/opt", "8:1", "/opt"),
        ("/var", "8:2", "/"),
        ("/var/library", "0:6", "/"),
        ("/var/library/x", "0:6", "/x"),
        ("/var/libraryx", "8:2", "/libraryx"),
        ("/var/lib", "8:2", "/lib"),
        ("/var/lib/with space/x", "0:5", "/x"),
    ],
)
def test_the_deepest_mount_counts_by_whole_names(directory: str, device: str, path: str) -> None:
    assert place(HOST, directory)[:2] == (device, path)


@pytest.mark.parametrize(
    "options", ["ro,noexec - tmpfs none rw", "rw,relatime - tmpfs none rw,noexec"]
)
def test_a_mount_or_its_file_system_makes_it_noexec(options: str) -> None:
    assert place(f"1 0 0:1 / /x {options}", "/x").noexec


def test_a_table_that_is_none_has_no_place() -> None:
    assert mounts.locate("", "/x") is None
    assert mounts.locate("garbage\n1 2 3 - \n", "/x") is None
