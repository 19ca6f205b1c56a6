from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from coredumpd import errors, ownership


def attributes(mode: int, uid: int = 1000, links: int = 1) -> os.stat_result:
    return os.stat_result((mode, 0, 0, links, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "links", "reason"),
    [
        (stat.S_IFREG | 0o600, 1000, 1, None),
        (stat.S_IFREG | 0o400, 1000, 1, None),
        (stat.S_IFDIR | 0o700, 1000, 5, None),
        (stat.S_IFDIR | 0o2700, 1000, 2, None),
        (stat.S_IFREG | 0o640, 1000, 1, "mode 0640"),
        (stat.S_IFREG | 0o602, 1000, 1, "mode 0602"),
        (stat.S_IFREG | 0o600, 0, 1, "belongs to uid 0"),
        (stat.S_IFREG | 0o600, 1000, 2, "2 names"),
        (stat.S_IFIFO | 0o600, 1000, 1, "regular file"),
        (stat.S_IFCHR | 0o600, 1000, 1, "regular file"),
    ],
)
def test_only_what_is_the_callers_alone_is_used(mode, uid, links, reason) -> None:
    problem = ownership.problem(attributes(mode, uid, links), 0o700 & mode | 0o600, 1000)
    assert problem is None if reason is None else reason in (problem or "")


def test_a_socket_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(errors.Untrusted, match=r"socket: .*: use another"):
            ownership.open_file(str(tmp_path / "socket"), 0o600, "use another", directory=directory)
    os.close(directory)


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(errors.Untrusted, match="symbolic link"):
        ownership.open_directory(str(tmp_path / "link"), 0o700, "use another", create=True)


@pytest.mark.parametrize(
    ("mode", "forbidden", "verb"),
    [
        (0o600, 0o077, None),
        (0o640, 0o077, "others may read it: chmod go-rwx"),
        (0o644, 0o022, None),
        (0o666, 0o022, "others may change it: chmod go-w"),
    ],
)
def test_a_named_file_that_others_may_use_is_reported(tmp_path, mode, forbidden, verb) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    exposure = ownership.exposure(str(path), forbidden)
    assert exposure is None if verb is None else verb in (exposure or "")
