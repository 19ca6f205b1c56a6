"""Images for several architectures, joined: each client takes the one for its own."""

from __future__ import annotations

import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import image_index, oci


def image(path: Path, machine: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that holds a file which names its machine, as tools.image writes it there."""
    layer = oci.Layer()
    layer.file("machine", machine.encode())
    with monkeypatch.context() as there:
        there.setattr(platform, "machine", lambda: machine)
        oci.write(path, "docker.io/local/coredumpd:1", layer, ["/coredumpd"])
    return path


def document(archive: Path, name: str) -> Any:
    """The JSON in a file of an OCI archive, or in the blob with a digest."""
    with tarfile.open(archive) as files:
        path = f"blobs/{name.replace(':', '/')}" if ":" in name else name
        file = files.extractfile(path)
        assert file is not None
        return json.load(file)


def test_the_index_names_each_image_by_its_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [
        image(tmp_path / f"{machine}.tar", machine, monkeypatch)
        for machine in ("x86_64", "aarch64")
    ]
    joined = tmp_path / "joined.tar"
    assert image_index.join(images, joined) == ["linux/amd64", "linux/arm64"]
    (entry,) = document(joined, "index.json")["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/local/coredumpd:1"
    index = document(joined, entry["digest"])
    assert index["mediaType"] == entry["mediaType"] == image_index.INDEX_TYPE
    for manifest, single in zip(index["manifests"], images, strict=True):
        own = document(single, "index.json")["manifests"][0]
        assert manifest["digest"] == own["digest"]
        config = document(joined, document(joined, manifest["digest"])["config"]["digest"])
        assert manifest["platform"] == {
            "os": "linux",
            "architecture": config["architecture"],
        }
    again = tmp_path / "again.tar"
    image_index.join(images, again)
    assert again.read_bytes() == joined.read_bytes()


def test_two_images_for_one_platform_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = image(tmp_path / "one.tar", "x86_64", monkeypatch)
    with pytest.raises(ValueError, match="a second image for linux/amd64"):
        image_index.join([one, one], tmp_path / "joined.tar")
