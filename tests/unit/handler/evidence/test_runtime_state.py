"""State files, whole, foreign and forged; in a pod's cgroup, and outside of all of them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.node import runtimes

from coredumpd import errors
from coredumpd.formats import cgroup
from coredumpd.handler.evidence import runtime_state

UID, ID, CONTAINERD = runtimes.UID, runtimes.ID, runtimes.CONTAINERD
PLACE = cgroup.Place(UID, ID)


def changed(document: dict[str, Any], where: str, value: object) -> bytes:
    copy = json.loads(json.dumps(document))
    copy["annotations"][where] = value
    return json.dumps(copy).encode()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("io.kubernetes.cri.sandbox-uid", "another"),
        ("io.kubernetes.cri.sandbox-namespace", "../../etc"),
        ("io.kubernetes.cri.sandbox-name", "a b"),
        ("io.kubernetes.cri.container-name", None),
    ],
)
def test_state_that_contradicts_or_is_no_name_is_refused(where: str, value: object) -> None:
    with pytest.raises(errors.BadRecord):
        runtime_state.parse(changed(CONTAINERD, where, value), PLACE)


def test_state_of_another_cgroup_is_refused() -> None:
    document = CONTAINERD | {"linux": {"cgroupsPath": f"/kubepods/pod{UID}/{'f' * 64}"}}
    with pytest.raises(errors.BadRecord, match="cgroupsPath"):
        runtime_state.parse(json.dumps(document).encode(), PLACE)


def test_state_that_proves_nothing_is_refused() -> None:
    names = {"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-0"}
    with pytest.raises(errors.BadRecord, match="neither"):
        runtime_state.parse(json.dumps({"annotations": names}).encode(), PLACE)


def outside(
    document: dict[str, Any], path: str, root: str = "/"
) -> tuple[cgroup.Place, runtime_state.Container] | None:
    return runtime_state.parse_outside(json.dumps(document).encode(), ID, path, root)


def claiming(document: dict[str, Any], path: str) -> dict[str, Any]:
    return document | {"linux": {"cgroupsPath": path}}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (claiming(CONTAINERD, f"/{ID}"), f"/{ID}"),
        (claiming(CONTAINERD, f"/k8s.io/{ID}"), f"/k8s.io/{ID}"),
        (claiming(runtimes.CRIO, f"system.slice:crio:{ID}"), f"/system.slice/crio-{ID}.scope"),
        (runtimes.DOCKER, f"/docker/{ID}"),
        (runtimes.DOCKER, f"/system.slice/docker-{ID}.scope"),
        (runtimes.CONTAINERD_SANDBOX, f"/kata_overhead/{ID}"),
    ],
)
def test_roots_file_for_the_very_cgroup_of_a_process_outside_kubepods_is_believed(
    document: dict[str, Any], path: str
) -> None:
    named = outside(document, path)
    assert named is not None
    assert named[0] == PLACE
    assert (named[1].namespace, named[1].pod_name) == ("shop", "web-0")
    with pytest.raises(errors.BadRecord, match="cgroupsPath"):
        outside(document, f"/lxc.payload.guest{path}")


def test_the_roots_cgroup_comes_before_what_the_runtime_claims() -> None:
    document = claiming(CONTAINERD, f"/k8s.io/{ID}")
    assert outside(document, f"/docker/{'e' * 64}/k8s.io/{ID}", f"/docker/{'e' * 64}") is not None


def test_a_container_of_a_pod_is_not_in_the_cgroup_of_katas_overhead() -> None:
    with pytest.raises(errors.BadRecord, match="cgroupsPath"):
        outside(CONTAINERD, f"/kata_overhead/{ID}")


def test_a_container_that_is_no_pods_is_nobodys() -> None:
    assert outside({"linux": {"cgroupsPath": f"/{ID}"}}, f"/{ID}") is None
    assert outside({"Config": {"Image": "x", "Labels": {}}}, f"/docker/{ID}") is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["annotations", "linux", "Config", "Labels", "cgroupsPath"]), inner
        )
    ),
    max_leaves=8,
)


@given(_JSON | st.binary(max_size=60))
def test_any_document_is_a_container_or_refused(document: object) -> None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(errors.BadRecord):
        runtime_state.parse(data, PLACE)
    with contextlib.suppress(errors.BadRecord):
        assert runtime_state.parse_outside(data, ID, f"/{ID}", "/") is None
