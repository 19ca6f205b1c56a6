"""Every directory above hostDir must be root's alone; the refusal names the one that is not."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from support import waiting
from support.node import hostdirs

from coredumpd import errors
from coredumpd.agent.node import host_namespaces, host_paths, install


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces are root's")
def test_noexec_counts_where_the_kernel_runs_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostdirs.temporary() as root:
        mount = f"mount -t tmpfs -o noexec,mode=755 none {root} && mkdir {root}/h"
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{mount} && exec sleep 60"]
        ) as host:
            try:
                theirs = Path(f"/proc/{host.pid}/root{root}/h")
                waiting.until("the other namespace", theirs.exists, 30, 0.01)
                install.prepare(root / "h")  # not there
                monkeypatch.setattr(host_namespaces, "HOST", str(host.pid))
                with pytest.raises(errors.Forbidden, match=f"mounted at {root}, is noexec"):
                    install.prepare(root / "h")
            finally:
                host.kill()


def test_the_mount_of_a_path_is_the_nearest_above_it() -> None:
    assert host_paths.mount_point(Path("/proc/self")) == "/proc"
    assert host_paths.mount_point(Path("/nowhere/at/all")) == "/"


def test_an_error_of_no_known_kind_keeps_its_own_words() -> None:
    with hostdirs.temporary() as root:
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        text = str(host_paths.problem(root, error))
    assert text == f"hostDir {root}: Input/output error"
