"""Where each runtime's state file is found, and which file is root's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.node import runtimes

from coredumpd import errors
from coredumpd.formats import cgroup
from coredumpd.handler.evidence import runtime

ID = runtimes.ID
PLACE = cgroup.Place(runtimes.UID, ID)


@pytest.mark.parametrize(
    ("name", "document", "container"),
    [
        ("config.json", runtimes.CONTAINERD, "app"),
        ("userdata/config.json", runtimes.CRIO, "app"),
        ("config.v2.json", runtimes.DOCKER, "app"),
        ("config.json", runtimes.CONTAINERD_SANDBOX, "POD"),
        ("userdata/config.json", runtimes.CRIO_SANDBOX, "POD"),
        ("config.v2.json", runtimes.DOCKER_SANDBOX, "POD"),
    ],
)
def test_names_are_read_from(
    tmp_path: Path, name: str, document: dict[str, Any], container: str
) -> None:
    path = tmp_path / ID / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    names = runtime.find(["/does/not/exist", str(tmp_path / "empty"), str(tmp_path)], PLACE)
    assert names is not None
    assert (names.namespace, names.pod_name, names.container) == ("shop", "web-0", container)
    assert names.image == "local/app:1"


def test_a_container_no_runtime_knows_has_no_names(tmp_path: Path) -> None:
    assert runtime.find([str(tmp_path)], PLACE) is None
    with pytest.raises(errors.NotFound, match="runtimeStateDirs"):
        runtime.find_outside([str(tmp_path)], ID, f"/{ID}", "/")


def test_an_absent_runtime_costs_one_failed_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(
        runtime.os, "open", lambda path, *_: opened.append(path) or os.stat("/does/not/exist")
    )
    assert runtime.find(["/one", "/two", "/three"], PLACE) is None
    assert opened == [f"/one/{ID}", f"/two/{ID}", f"/three/{ID}"]


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
            path.write_text(json.dumps(runtimes.CONTAINERD))
            path.chmod(0o666)
    with pytest.raises(errors.Forbidden):
        runtime.find([str(tmp_path)], PLACE)
