from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.agent.node import host_namespaces
from coredumpd.agent.node.handlers_cgroup import make, plan
from coredumpd.formats import host_dir as host_dirs

BOUNDS = plan.Limits(50, 1 << 30)


@pytest.fixture
def unified(tmp_path):
    """A v2 hierarchy's files, as far as they are written: there is none in a hybrid."""
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    for name in ("cpu.weight", "memory.max", "memory.oom.group"):
        (own / name).touch()
    return tmp_path


def test_a_v2_root_delegates_what_it_does_not_yet(unified):
    text = f"cgroup2 {unified} cgroup2 rw 0 0"
    planned = plan.cgroups("own", text, {str(unified): "cpu memory"}, BOUNDS)
    make.make(planned["memory"])
    assert (unified / "cgroup.subtree_control").read_text() == "memory"
    make.make(planned["cpu"])
    assert (unified / "cgroup.subtree_control").read_text().startswith("+cpu")
    assert (unified / "own" / "cpu.weight").read_text() == "50"
    assert (unified / "own" / "memory.max").read_text() == str(1 << 30)


def test_a_kernel_that_lacks_a_file_is_named_with_it(unified):
    (unified / "own" / "memory.max").unlink()
    cgroup = plan.Cgroup("memory", str(unified / "own"), {"memory.max": "1"}, str(unified))
    with pytest.raises(FileNotFoundError) as refusal:
        make.make(cgroup)
    assert refusal.value.filename == str(unified / "own" / "memory.max")


def test_where_none_can_be_made_that_is_logged_once_and_stays_a_notice(
    tmp_path, monkeypatch, caplog
):
    def refuse(*_: object) -> None:
        raise errors.Forbidden("cannot enter the host's namespaces")

    monkeypatch.setattr(host_namespaces, "call", refuse)
    keeper = make.Keeper(tmp_path, BOUNDS)
    for _ in range(3):
        keeper.settle()
    (notice,) = keeper.notices()
    assert notice.startswith("all handlers together have no limit of cpu and memory: cannot enter")
    assert len(caplog.records) == 1
    assert not (tmp_path / host_dirs.HANDLER_CGROUPS).exists()
