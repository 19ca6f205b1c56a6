"""Join images for several architectures: `python -m tools.image_index A.tar B.tar … OUT.oci.tar`.

Each input is an OCI archive with one image, as tools.image writes it. The result names one image
index (image-spec v1.0, image-index.md) under the first input's name; the client that pulls it takes
the image for its own platform. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from tools import oci

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        platforms = join(arguments.images, arguments.output)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        print(f"image_index.py: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {', '.join(platforms)}")
    return 0


def join(images: list[Path], output: Path) -> list[str]:
    """Write the index of `images` to `output`; returns their platforms.

    Raises ValueError when two are for the same platform.
    """
    blobs: dict[str, bytes] = {}
    manifests: dict[str, dict[str, Any]] = {}
    annotations: dict[str, str] = {}
    for image in images:
        files = _files(image)
        (manifest,) = json.loads(files["index.json"])["manifests"]
        annotations = annotations or manifest.pop("annotations")
        manifest.pop("annotations", None)
        config_digest = json.loads(files[_path(manifest["digest"])])["config"]["digest"]
        config = json.loads(files[_path(config_digest)])
        platform = f"{config['os']}/{config['architecture']}"
        if platform in manifests:
            raise ValueError(f"{image}: a second image for {platform}")
        manifest["platform"] = {"os": config["os"], "architecture": config["architecture"]}
        manifests[platform] = manifest
        blobs |= {name: data for name, data in files.items() if name.startswith("blobs/")}
    index = oci.to_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [manifests[platform] for platform in sorted(manifests)],
        }
    )
    entry = oci.descriptor(INDEX_TYPE, index)
    blobs[_path(entry["digest"])] = index
    oci.write_layout(output, entry | {"annotations": annotations}, blobs)
    return sorted(manifests)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _files(image: Path) -> dict[str, bytes]:
    with tarfile.open(image) as archive:
        members = [member for member in archive if member.isreg()]
        files = {member.name: archive.extractfile(member) for member in members}
        return {name: file.read() for name, file in files.items() if file is not None}


if __name__ == "__main__":
    sys.exit(main())
