"""Entering another process's namespaces, with a process in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import waiting

from coredumpd import errors
from coredumpd.agent.node import host_namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces are root's")


def test_a_call_sees_the_other_namespace_and_leaves_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/theirs && exec sleep 60"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script]) as other:
        try:
            root = Path(f"/proc/{other.pid}/root{tmp_path}/theirs")
            waiting.until("the other namespace", root.exists, 30, 0.01)
            monkeypatch.setattr(host_namespaces, "HOST", str(other.pid))
            assert host_namespaces.call(os.listdir, tmp_path) == ["theirs"]
            spawned = host_namespaces.call(subprocess.check_output, ["ls", str(tmp_path)])
            assert spawned == b"theirs\n"
            assert os.listdir(tmp_path) == []
        finally:
            other.kill()


def test_results_and_exceptions_come_back_to_the_caller() -> None:
    assert host_namespaces.call(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        host_namespaces.call(int, "seven")


def test_a_host_that_cannot_be_entered_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(result: int) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(host_namespaces, "_check", refuse)
    monkeypatch.setattr(host_namespaces, "_inode", lambda name, pid: len(pid))
    monkeypatch.setattr(host_namespaces, "_libc", FakeLibc)
    with pytest.raises(errors.Forbidden, match="privileged"):
        host_namespaces.call(os.getpid)


class FakeLibc:
    def unshare(self, flags: int) -> int:
        return -1
