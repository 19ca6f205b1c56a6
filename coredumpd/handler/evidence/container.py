"""Find the container of a crashed process: its cgroup identifies it, its runtime names it.

Tested in: tests/integration/capture/test_places.py
"""

from __future__ import annotations

from coredumpd import errors
from coredumpd.formats import cgroup, kernel_log, names
from coredumpd.handler.evidence import runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coredumpd.formats import policy
    from coredumpd.handler.evidence import process, runtime_state


def identify(crashed: process.Process, rules: policy.Policy) -> runtime_state.Container | None:
    """The names of the container of `crashed`, or None where no state file vouches for them.

    A process in no pod's cgroup may be a pod's all the same: then this sets its place, or, when
    nothing proves it, `unvouched`, the sentence for the administrator. Raises nothing.
    """
    if crashed.place is None:
        owner = _outside(crashed, rules)
        if crashed.unvouched is not None and rules.hostCrashes == "store":
            message = f"a crash goes to {names.HOST_NAMESPACE}: {crashed.unvouched}"
            kernel_log.write(kernel_log.WARNING, message)
        return owner
    try:
        return runtime.find(rules.runtimeStateDirs, crashed.place)
    except errors.CoredumpdError as error:
        message = f"container {crashed.place.container_id} known by its cgroup only: {error}"
        kernel_log.write(kernel_log.WARNING, message)
        return None


def _outside(crashed: process.Process, rules: policy.Policy) -> runtime_state.Container | None:
    """As `identify`, of a process that is not below the kubelet's kubepods."""
    root = rules.cgroupRoot or "/"
    if cgroup.from_claim(crashed.cgroup_path) is not None:
        crashed.unvouched = (
            f"its cgroup {crashed.cgroup_path} is called as a pod's, but is not below the kubelet's"
            f" root {root}: set policy.cgroupRoot, if it is a pod's"
        )
        return None
    if crashed.outermost is None:
        return None
    id, path = crashed.outermost
    try:
        named = runtime.find_outside(rules.runtimeStateDirs, id, path, root)
    except errors.CoredumpdError as error:
        crashed.unvouched = f"it is in container {id}, of which nothing proves a pod: {error}"
        return None
    if named is None:
        return None
    crashed.place, container = named
    return container
