"""The containers of a pod that have ended, from the pod's document. Pure.

The kubelet reports a container's end in `state.terminated`, and in `lastState.terminated` once it
has restarted it: of several ends between two reports, the latest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from coredumpd import units
from coredumpd.agent.terminations import programs
from coredumpd.formats import pod_reference
from coredumpd.kube import pods

_REASON_CHARS_MAX = 64


@dataclasses.dataclass(frozen=True)
class Termination:
    """One end of one container.

    `kind`: see `pods.field_path`. `container_id` is the runtime's, without its scheme. `code` is
    the exit code, of which those above 128 stand for a signal. `reason` is the kubelet's word, such
    as OOMKilled. `finished_s`: in seconds since the epoch, by the node's clock.
    """

    namespace: str
    pod: str
    pod_uid: str
    container: str
    kind: str | None
    container_id: str
    code: int
    reason: str
    finished_s: float
    program: programs.Program

    def reference(self) -> dict[str, Any]:
        """The container as a core/v1 ObjectReference."""
        path = pods.field_path(self.kind, self.container)
        return pod_reference.make(self.namespace, self.pod, self.pod_uid, path)


def terminations(pod: dict[str, Any]) -> list[Termination]:
    """Every end that a pod's document reports with a container's id, a code and a time."""
    return [
        termination
        for kind, container, status in pods.containers(pod)
        for state in _terminated(status)
        if (termination := _termination(pod, kind, container, state)) is not None
    ]


def _terminated(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("lastState", "state"):
        state = (status.get(name) or {}).get("terminated")
        if isinstance(state, Mapping):
            yield state


def _termination(
    pod: dict[str, Any], kind: str | None, container: Mapping[str, Any], state: Mapping[str, Any]
) -> Termination | None:
    id = str(state.get("containerID") or "").rpartition("//")[2]
    number, code = state.get("signal"), state.get("exitCode")
    if isinstance(number, int) and number > 0:
        code = 128 + number
    try:
        finished_s = units.parse_timestamp(state.get("finishedAt"))
    except ValueError:
        return None
    if not id or not isinstance(code, int):
        return None
    meta = pod["metadata"]
    message = str(state.get("message") or "")
    return Termination(
        *(meta["namespace"], meta["name"], meta["uid"], str(container.get("name")), kind, id),
        code=code,
        reason=str(state.get("reason") or "")[:_REASON_CHARS_MAX],
        finished_s=finished_s,
        program=programs.of_container(pod.get("spec") or {}, container, message),
    )
