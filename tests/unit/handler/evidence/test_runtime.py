"""The state files of each runtime, whole, foreign and forged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import cgroup
from coredumpd.handler.evidence import runtime

UID = "4a7f1c2e-0c5d-4b0e-9a6b-0123456789ab"
ID = "0123456789abcdef" * 4
PLACE = cgroup.Place(UID, ID)

CONTAINERD: dict[str, Any] = {
    "annotations": {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-uid": UID,
        "io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.image-name": "local/app:1",
    },
    "linux": {"cgroupsPath": f"kubepods-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}"},
}
CRIO: dict[str, Any] = {
    "annotations": {
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.uid": UID,
        "io.kubernetes.container.name": "app",
        "io.kubernetes.cri-o.ImageName": "local/app:1",
    },
    "linux": {"cgroupsPath": f"kubepods-pod{UID.replace('-', '_')}.slice:crio:{ID}"},
}
DOCKER: dict[str, Any] = {
    "Config": {
        "Image": "local/app:1",
        "Labels": {
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.name": "web-0",
            "io.kubernetes.pod.uid": UID,
            "io.kubernetes.container.name": "app",
        },
    }
}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("config.json", CONTAINERD),
        ("userdata/config.json", CRIO),
        ("config.v2.json", DOCKER),
    ],
    ids=["containerd", "cri-o", "cri-dockerd"],
)
def test_names_are_read_from(tmp_path: Path, name: str, document: dict[str, Any]) -> None:
    path = tmp_path / ID / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    found = runtime.find(["/does/not/exist", str(tmp_path)], PLACE)
    assert found is not None
    assert (found.namespace, found.pod_name, found.container) == ("shop", "web-0", "app")
    assert found.image == "local/app:1"


def test_a_container_no_runtime_knows_has_no_names(tmp_path: Path) -> None:
    assert runtime.find([str(tmp_path)], PLACE) is None


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
        runtime.parse(changed(CONTAINERD, where, value), PLACE)


def test_state_of_another_cgroup_is_refused() -> None:
    document = CONTAINERD | {"linux": {"cgroupsPath": f"/kubepods/pod{UID}/{'f' * 64}"}}
    with pytest.raises(errors.BadRecord, match="cgroupsPath"):
        runtime.parse(json.dumps(document).encode(), PLACE)


def test_state_that_proves_nothing_is_refused() -> None:
    names = {"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-0"}
    with pytest.raises(errors.BadRecord, match="neither"):
        runtime.parse(json.dumps({"annotations": names}).encode(), PLACE)


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "writable"])
def test_state_that_is_not_roots_own_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ID / "config.json"
    path.parent.mkdir()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/etc/passwd")
        case "directory":
            path.mkdir()
        case _:
            path.write_text(json.dumps(CONTAINERD))
            path.chmod(0o666)
    with pytest.raises(errors.Forbidden):
        runtime.find([str(tmp_path)], PLACE)


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
        runtime.parse(data, PLACE)
