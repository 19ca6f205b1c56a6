"""Where a kubelet's configuration is found, and whom nobody believes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coredumpd.agent.kubelet import configuration, eviction


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc in which nothing runs but PID 1."""
    made = tmp_path / "proc"
    _process(made, 1, "systemd")
    return made


def _process(proc: Path, pid: int, comm: str, *words: str, mnt: str = "mnt:[1]") -> None:
    directory = proc / str(pid)
    (directory / "ns").mkdir(parents=True)
    for kind in ("pid", "user"):
        (directory / "ns" / kind).symlink_to(f"{kind}:[1]")
    (directory / "ns" / "mnt").symlink_to(mnt)
    (directory / "comm").write_text(f"{comm}\n")
    (directory / "cmdline").write_bytes(b"\0".join(word.encode() for word in (comm, *words, "")))


def write(path: Path, document: object, mode: int = 0o644) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return str(path)


def percent(thresholds: configuration.Thresholds) -> float:
    return eviction.keep(thresholds.thresholds, 1000) / 10


def hard(value: str) -> dict[str, object]:
    return {"kind": "KubeletConfiguration", "evictionHard": {"nodefs.available": value}}


def test_the_running_kubelets_own_file_and_flags_count(proc: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "kubelet.conf", hard("30%"))
    _process(
        proc, 70, "kubelet", "--v=2", f"--config={path}", "--eviction-soft=nodefs.available<1%"
    )
    found = configuration.read(None, proc)
    assert (percent(found), found.source, found.problems) == (35, path, ())
    _process(proc, 20, "kubelet", "--eviction-hard", "nodefs.available<40%", "--config", path)
    (proc / "70" / "comm").write_text("other\n")
    assert percent(configuration.read(None, proc)) == 45


def test_drop_ins_are_merged_over_the_file_in_their_order(proc: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "kubelet.conf", hard("30%"))
    write(tmp_path / "conf.d" / "10-one.conf", "evictionHard:\n  nodefs.available: 40%\n")
    write(tmp_path / "conf.d" / "20-two.conf", {"evictionHard": {"imagefs.available": "2%"}})
    write(tmp_path / "conf.d" / "other.yaml", hard("90%"))
    _process(proc, 7, "kubelet", "--config", path, f"--config-dir={tmp_path}/conf.d")
    assert percent(configuration.read(None, proc)) == 45


def test_a_process_of_a_pod_that_calls_itself_kubelet_is_nobody(proc: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "kubelet.conf", hard("30%"))
    _process(proc, 70, "kubelet", f"--config={path}", mnt="mnt:[2]")
    assert configuration.running(proc) is None


def test_the_setting_goes_before_the_running_kubelet(proc: Path, tmp_path: Path) -> None:
    _process(proc, 70, "kubelet", "--eviction-hard=nodefs.available<40%")
    path = write(tmp_path / "mine.yaml", "evictionHard: {nodefs.available: 20%}\n")
    assert percent(configuration.read(path, proc)) == 25


@pytest.mark.parametrize(
    ("document", "mode", "problem"),
    [
        (None, 0, "is not there"),
        ("evictionHard: {", 0o644, "not YAML"),
        ("- a list", 0o644, "must be a mapping"),
        ("x: " + "y" * 2**20, 0o644, "larger than"),
        ("\0", 0o644, "not YAML"),
        (hard("30%"), 0o666, "must belong to root and be writable by nobody else"),
        (hard("much"), 0o644, "nodefs.available: 'much': must be a percentage or a quantity"),
    ],
)
def test_a_file_that_is_bad_or_missing_is_named_and_the_defaults_count(
    proc: Path, tmp_path: Path, document: object, mode: int, problem: str
) -> None:
    path = str(tmp_path / "config.yaml")
    if document is not None:
        write(tmp_path / "config.yaml", document, mode)
    found = configuration.read(path, proc)
    assert percent(found) == 15
    (text,) = found.problems
    assert path in text
    assert problem in text


def test_a_node_without_a_kubelet_has_the_defaults_and_no_problem(
    proc: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(configuration, "USUAL", str(tmp_path / "none"))
    found = configuration.read(None, proc)
    assert (percent(found), found.problems) == (15, ())
    assert "no kubelet" in found.source
