"""Pod and container out of every cgroup layout in the field, and out of none of the forged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import cgroup

UID = "4a7f1c2e-0c5d-4b0e-9a6b-0123456789ab"
SLICE_UID = UID.replace("-", "_")
ID = "0123456789abcdef" * 4
OTHER_UID = "ffffffff-0c5d-4b0e-9a6b-0123456789ab"
OTHER_ID = "f" * 64
PLACE = cgroup.Place(UID, ID)

SLICES = f"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICE_UID}.slice"
KIND = f"/system.slice/docker-{OTHER_ID}.scope/kubelet.slice"
# Each with the kubelet's root.
POD_PATHS = {
    "cgroupfs besteffort": ("/", f"/kubepods/besteffort/pod{UID}/{ID}"),
    "cgroupfs burstable": ("/", f"/kubepods/burstable/pod{UID}/{ID}"),
    "cgroupfs guaranteed": ("/", f"/kubepods/pod{UID}/{ID}"),
    "systemd besteffort containerd": ("/", f"/{SLICES}/cri-containerd-{ID}.scope"),
    "systemd burstable cri-o": (
        "/",
        "/kubepods.slice/kubepods-burstable.slice/"
        f"kubepods-burstable-pod{SLICE_UID}.slice/crio-{ID}.scope",
    ),
    "systemd guaranteed docker": (
        "/",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/docker-{ID}.scope",
    ),
    "cgroupfs cri-o": ("/", f"/kubepods/burstable/pod{UID}/crio-{ID}"),
    "cri-o inner cgroup": (
        "/",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/crio-{ID}.scope/container",
    ),
    "cgroup-root": ("/nodes/a", f"/nodes/a/kubepods/burstable/pod{UID}/{ID}"),
    "kind cgroupfs": (
        f"/docker/{OTHER_ID}/kubelet",
        f"/docker/{OTHER_ID}/kubelet/kubepods/burstable/pod{UID}/{ID}",
    ),
    "kind systemd": (
        KIND,
        f"{KIND}/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
        f"kubelet-kubepods-besteffort-pod{SLICE_UID}.slice/cri-containerd-{ID}.scope",
    ),
    "containerd without SystemdCgroup": (
        "/system.slice/containerd.service",
        "/system.slice/containerd.service/"
        f"kubepods-besteffort-pod{SLICE_UID}.slice:cri-containerd:{ID}",
    ),
    "nested container": ("/", f"/kubepods/pod{UID}/{ID}/docker/{OTHER_ID}"),
    "dying cgroup": ("/", f"/kubepods/pod{UID}/{ID}/x (deleted)"),
}


@pytest.mark.parametrize(("root", "path"), POD_PATHS.values(), ids=POD_PATHS)
def test_a_container_is_found_below_the_kubelets_root_and_nowhere_else(
    root: str, path: str
) -> None:
    assert cgroup.from_path(path, root) == PLACE
    assert cgroup.from_path(path, f"{root}/elsewhere") is None
    assert cgroup.from_path(f"/lxc.payload.guest{path}", root) is None
    if root != "/":
        assert cgroup.from_path(path, "/") is None


@pytest.mark.parametrize(
    "above",
    [
        "/lxc.payload.guest",
        "/system.slice/x.service",
        "/machine.slice/machine-a.scope",
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods/a/b",
        "/kubepods.slice/x",
        "/coredumpd",
        "/x-kubepods.slice",
    ],
)
@pytest.mark.parametrize("pod", [f"kubepods/pod{UID}/{ID}", f"{SLICES}/crio-{ID}.scope"])
def test_what_other_software_nests_is_no_pod(above: str, pod: str) -> None:
    assert cgroup.from_path(f"{above}/{pod}", "/") is None


@pytest.mark.parametrize(("root", "path"), POD_PATHS.values(), ids=POD_PATHS)
def test_the_root_is_learned_from_the_path_of_a_pod(root: str, path: str) -> None:
    assert cgroup.root_of(path) == root


@pytest.mark.parametrize(
    "path", ["/", "/system.slice/a.service", f"/user.slice/kubepods/pod{UID}/{ID}"]
)
def test_no_root_is_learned_from_another_path(path: str) -> None:
    assert cgroup.root_of(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/system.slice/sshd.service",
        f"/docker/{ID}",
        f"/kubepods/burstable/pod../{ID}",
        f"/kubepods/burstable/pod/{ID}",
        f"/xkubepods/burstable/pod{UID}/{ID}",
        f"/pod{UID}/{ID}",
        f"/system.slice/notkubepods-pod{SLICE_UID}.slice/crio-{ID}.scope",
    ],
)
def test_no_container_is_found_in(path: str) -> None:
    assert cgroup.from_path(path, "/") is None


@pytest.mark.parametrize(
    "path",
    [
        f"/kubepods/burstable/pod{UID}",  # gVisor's sentry
        f"/{SLICES}",
        f"/{SLICES}/crio-conmon-{ID}.scope",
        f"/kubepods/burstable/pod{UID}/{ID.upper()}",
        f"/kubepods/burstable/pod{UID}/short",
    ],
)
def test_what_is_in_a_pod_and_in_none_of_its_containers_is_its_sandbox(path: str) -> None:
    assert cgroup.from_path(path, "/") == cgroup.Place(UID, None)


@pytest.mark.parametrize("top", ["/kata", "/kata_overhead"])
@pytest.mark.parametrize(("root", "path"), POD_PATHS.values(), ids=POD_PATHS)
def test_katas_own_cgroups_hold_the_whole_path_of_the_pods(top: str, root: str, path: str) -> None:
    assert cgroup.from_path(top + path, root) == PLACE
    assert cgroup.from_path(f"/lxc.payload.guest{top}{path}", root) is None
    assert cgroup.from_path(top + top + path, root) is None


def test_a_hierarchy_that_knows_the_pod_alone_contradicts_no_container_of_it() -> None:
    path = f"/kubepods/pod{UID}"
    text = f"9:memory:{path}/{ID}\n4:misc:{path}\n0::/\n"
    assert cgroup.place(text.encode(), "/") == PLACE
    other = f"9:memory:{path}/{ID}\n4:misc:/kubepods/pod{OTHER_UID}\n"
    with pytest.raises(errors.Conflict):
        cgroup.place(other.encode(), "/")


@pytest.mark.parametrize(
    ("path", "above"),
    [
        (f"/{ID}", ""),
        (f"/k8s.io/{ID}/below/{OTHER_ID}", "/k8s.io"),
        (f"/kata_overhead/{ID}", "/kata_overhead"),
    ],
)
def test_the_outermost_container_wherever_it_is(path: str, above: str) -> None:
    text = f"9:memory:{path}\n4:rdma:/\n0::{path}\n"
    assert cgroup.outermost(text.encode()) == (ID, f"{above}/{ID}")


@pytest.mark.parametrize(
    "text",
    [
        "0::/system.slice/sshd.service",
        f"0::/user.slice/user-1000.slice/{ID}",
        f"9:memory:/{ID}\n0::/{OTHER_ID}",
        f"9:memory:/{ID}\n0::/a/{ID}",
        "",
    ],
)
def test_no_outermost_container(text: str) -> None:
    assert cgroup.outermost(text.encode()) is None


@pytest.mark.parametrize(("root", "path"), POD_PATHS.values(), ids=POD_PATHS)
def test_a_container_forged_below_ones_own_does_not_win(root: str, path: str) -> None:
    forged = f"/kubepods/besteffort/pod{OTHER_UID}/{OTHER_ID}"
    assert cgroup.from_path(path.removesuffix(" (deleted)") + forged, root) == PLACE


def test_a_hierarchy_delegated_to_a_person_is_not_believed() -> None:
    path = f"/user.slice/user-1000.slice/user@1000.service/kubepods/pod{UID}/{ID}"
    assert cgroup.from_path(path, "/") is None


def test_hierarchies_that_disagree_are_both_refused() -> None:
    text = f"9:name=systemd:/kubepods/pod{UID}/{ID}\n0::/kubepods/pod{OTHER_UID}/{OTHER_ID}\n"
    with pytest.raises(errors.Conflict, match="different containers"):
        cgroup.place(text.encode(), "/")


def test_hybrid_hierarchies_that_agree_are_one() -> None:
    text = f"9:name=systemd:/kubepods/pod{UID}/{ID}\n4:memory:/\n0::/kubepods/pod{UID}/{ID}\n"
    assert cgroup.place(text.encode(), "/") == PLACE
    assert cgroup.shown(text.encode(), "/") == f"/kubepods/pod{UID}/{ID}"


def test_a_process_of_the_host_has_no_place() -> None:
    text = b"9:name=systemd:/\n0::/system.slice/sshd.service\n"
    assert cgroup.place(text, "/") is None
    assert cgroup.shown(text, "/") == "/system.slice/sshd.service"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_place_or_none(text: bytes) -> None:
    found = cgroup.place(text, "/")
    cgroup.shown(text, "/")
    assert found is None or found.container_id is None or len(found.container_id) == 64
    container = cgroup.outermost(text)
    assert container is None or len(container[0]) == 64


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=80), max_size=6))
def test_nothing_below_a_container_changes_whose_it_is(names: list[str]) -> None:
    below = "/".join(names)
    text = f"0::/kubepods/burstable/pod{UID}/{ID}/{below}\n"
    assert cgroup.place(text.encode("utf-8", "surrogatepass"), "/") == PLACE
