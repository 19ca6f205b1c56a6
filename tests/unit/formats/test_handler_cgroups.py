from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.formats import handler_cgroups


@pytest.mark.parametrize(
    "directories",
    [[], ["/sys/fs/cgroup/coredumpd-1234"], ["/sys/fs/cgroup/cpu/a", "/sys/fs/cgroup/memory/a"]],
)
def test_what_the_guard_writes_is_what_the_handler_reads(directories):
    paths = [f"{directory}/cgroup.procs" for directory in directories]
    assert handler_cgroups.parse(handler_cgroups.render(directories)) == paths


@pytest.mark.parametrize(
    "data",
    [
        b"cgroup.procs\n",
        b"/etc/passwd\n",
        b"/sys/fs/cgroup/a\0/cgroup.procs\n",
        b"/a/cgroup.procs\n\n",
        b"/a/cgroup.procs\n" * 5,
        b"/" + b"a" * 9000 + b"/cgroup.procs\n",
    ],
)
def test_any_other_path_is_refused(data):
    with pytest.raises(errors.BadRecord, match=r"absolute paths of a cgroup\.procs"):
        handler_cgroups.parse(data)
