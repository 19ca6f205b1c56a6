"""A claim is one path, wherever the runtime's root is, and no other."""

from __future__ import annotations

import pytest

from coredumpd.handler.evidence import claims

ID = "0123456789abcdef" * 4
OTHER_ID = "f" * 64


@pytest.mark.parametrize(
    ("path", "claim"),
    [
        (f"/{ID}", f"/{ID}"),
        (f"/k8s.io/{ID}", f"k8s.io/{ID}"),
        (f"/system.slice/crio-{ID}.scope", f"system.slice:crio:{ID}"),
        (f"/a.slice/a-b.slice/cri-containerd-{ID}.scope", f"a-b.slice:cri-containerd:{ID}"),
    ],
)
def test_a_runtimes_claim_is_one_path_and_no_other(path: str, claim: str) -> None:
    assert claims.is_claimed(path, claim, "/")
    assert claims.is_claimed(f"/docker/{OTHER_ID}{path}", claim, f"/docker/{OTHER_ID}")
    for elsewhere in (f"/lxc.payload.guest{path}", f"{path}/{ID}", f"/x/{ID}"):
        assert not claims.is_claimed(elsewhere, claim, "/")


@pytest.mark.parametrize("claim", ["", ":", "::", "a", ".slice::", "-:-:-", "/" * 9, "a.slice:x"])
def test_a_claim_that_is_none_fits_no_containers_cgroup(claim: str) -> None:
    assert not claims.is_claimed(f"/a/{ID}", claim, "/")


def test_only_dockers_and_katas_own_directories_are_theirs() -> None:
    assert claims.is_docker_default(f"/docker/{ID}")
    assert claims.is_docker_default(f"/system.slice/docker-{ID}.scope")
    assert claims.is_kata_overhead(f"/kata_overhead/{ID}")
    for path in (f"/a/docker/{ID}", f"/{ID}", f"/a/kata_overhead/{ID}", f"/system.slice/x-{ID}"):
        assert not claims.is_docker_default(path)
        assert not claims.is_kata_overhead(path)
