"""What the image carries of others: each work is in its bill, and has its licence there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "dist" / "coredumpd.oci.tar"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def layer() -> Iterator[tarfile.TarFile]:
    """The files of the image."""
    if not IMAGE.exists():
        pytest.skip("dist/coredumpd.oci.tar is missing: make image")
    with tarfile.open(IMAGE) as layout:

        def blob(digest: str) -> bytes:
            file = layout.extractfile("blobs/" + digest.replace(":", "/"))
            assert file is not None
            data = file.read()
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
            return data

        index = layout.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        (packed,) = manifest["layers"]
        plain = gzip.decompress(blob(packed["digest"]))
    with tarfile.open(fileobj=io.BytesIO(plain)) as files:
        yield files


def read(layer: tarfile.TarFile, name: str) -> bytes:
    file = layer.extractfile(name)
    assert file is not None
    return file.read()


def test_the_bill_has_every_distribution_and_the_executables_hash(layer: tarfile.TarFile) -> None:
    bill = json.loads(read(layer, "usr/share/sbom/coredumpd.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    parts = {(part["name"], part["version"]) for part in bill["components"]}
    pins = _PIN.findall((ROOT / "requirements.txt").read_text())
    assert {(name.lower(), version) for name, version in pins} <= parts
    assert {"libc6", "libssl3", "libpython3.11"} <= {name for name, _ in parts}
    (digest,) = bill["metadata"]["component"]["hashes"]
    executable = read(layer, "usr/local/bin/coredumpd")
    assert digest["content"] == hashlib.sha256(executable).hexdigest()


def test_every_part_of_the_bill_has_its_licence_in_the_image(layer: tarfile.TarFile) -> None:
    bill = json.loads(read(layer, "usr/share/sbom/coredumpd.cdx.json"))
    names = layer.getnames()
    for part in bill["components"]:
        texts = [name for name in names if name.startswith(f"usr/share/licenses/{part['name']}/")]
        assert texts, part["name"]
        assert all(read(layer, text) for text in texts)


def test_the_image_has_no_base_no_shell_and_no_package_manager(layer: tarfile.TarFile) -> None:
    programs = {member.name for member in layer if member.isreg() and member.mode & 0o111}
    libraries = {name for name in programs if re.search(r"/lib.*\.so|/ld-", f"/{name}")}
    assert programs - libraries == {"usr/local/bin/coredumpd"}
