"""Every directory above hostDir must be root's alone; the refusal names the one that is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.node import hostdirs

from coredumpd import errors
from coredumpd.agent.node import host_paths, install


def test_a_directory_below_root_owned_ones_is_accepted_and_made_private() -> None:
    with hostdirs.temporary() as root:
        host_dir = root / "h"
        host_dir.mkdir()
        host_dir.chmod(0o755)  # as the kubelet makes it
        install.prepare(host_dir)
        assert host_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("mode", "owner"), [(0o1777, 0), (0o775, 0), (0o702, 0), (0o755, 65534)])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_directory_above_that_another_can_write_is_named(
    mode: int, owner: int, depth: int
) -> None:
    with hostdirs.temporary() as root:
        above = root / "above"
        above.mkdir()
        os.chown(above, owner, -1)
        above.chmod(mode)
        host_dir = above.joinpath(*["x"] * depth)
        host_dir.parent.mkdir(parents=True, exist_ok=True)
        with pytest.raises(errors.Forbidden) as refused:
            install.prepare(host_dir)
        assert f"{above}, above it, must belong to root" in str(refused.value)
        assert f"belongs to uid {owner} and has mode {mode:04o}" in str(refused.value)
        assert not host_dir.exists()


def test_the_directories_that_a_link_leads_to_count() -> None:
    with hostdirs.temporary() as root:
        open_to_all = root / "open"
        (open_to_all / "h").mkdir(parents=True)
        open_to_all.chmod(0o777)
        (root / "link").symlink_to(open_to_all)
        with pytest.raises(errors.Forbidden, match=r"/(open|link), above it,"):
            host_paths.check_above(root / "link" / "h")


def test_tmp_is_refused() -> None:
    with pytest.raises(errors.Forbidden, match=r"/tmp, above it,.* mode 1777"):
        host_paths.check_above(Path("/tmp/coredumpd"))
