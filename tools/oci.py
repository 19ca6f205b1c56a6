"""Write a container image from files, without a registry, a daemon or docker.

The result is an OCI image layout in a tar (image-spec v1.0), as `ctr images import`, `podman load`,
`skopeo copy oci-archive:` and `docker load` (25 and newer) take it. The same files give the same
bytes: no time stamps, no owners, sorted names.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"
_LDD_LINE = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_ELF = b"\x7fELF"


class Layer:
    """The files of an image. Parents are made as needed; a name given twice is a mistake."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}

    def directory(self, name: str, mode: int = 0o755) -> None:
        self._add(name, tarfile.DIRTYPE, mode, None)

    def file(self, name: str, content: Path | bytes, mode: int = 0o644) -> None:
        """`content`: the bytes, or the file that has them (a symbolic link is followed)."""
        self._add(name, tarfile.REGTYPE, mode, content)

    def content(self, name: str) -> bytes:
        """The bytes of a file that was added as bytes. Raises KeyError."""
        content = self._members[name][1]
        if not isinstance(content, bytes):
            raise KeyError(name)
        return content

    def link(self, name: str, target: str) -> None:
        self._add(name, tarfile.SYMTYPE, 0o777, None).linkname = target

    def tar(self) -> bytes:
        """The uncompressed layer."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(self._members):
                info, content = self._members[name]
                data = content.read_bytes() if isinstance(content, Path) else content or b""
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    def _add(
        self, name: str, kind: bytes, mode: int, content: Path | bytes | None
    ) -> tarfile.TarInfo:
        name = name.strip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self._members:
            self.directory(parent)
        if name in self._members:
            raise ValueError(f"{name} is in the image twice")
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode
        self._members[name] = (info, content)
        return info


def libraries(binaries: Iterable[Path], search: Path | None = None) -> set[str]:
    """Absolute paths of the shared libraries `binaries` load, except those below `search`.

    Asks the loader itself (ldd). Raises ValueError naming a library that is not there.
    """
    paths: set[str] = set()
    environment = dict(os.environ, LC_ALL="C")
    if search is not None:
        environment["LD_LIBRARY_PATH"] = str(search)
    for binary in binaries:
        listed = subprocess.run(
            ["ldd", str(binary)], capture_output=True, text=True, env=environment, check=False
        )
        if "not found" in listed.stdout:
            raise ValueError(f"{binary} needs a library that is not here:\n{listed.stdout}")
        paths.update(_LDD_LINE.findall(listed.stdout))
    inside = f"{search}/"
    return {path for path in paths if search is None or not path.startswith(inside)}


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ELF


def write(
    output: Path,
    name: str,
    layer: Layer,
    entrypoint: list[str],
    user: str = "",
    labels: dict[str, str] | None = None,
) -> int:
    """Write image `name` (registry/repository:tag) to `output`; its compressed size in bytes."""
    plain = layer.tar()
    packed = gzip.compress(plain, 6, mtime=0)
    config = {
        "created": _EPOCH,
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "User": user,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
            "Labels": labels or {},
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
        "history": [{"created": _EPOCH, "created_by": "tools/image.py"}],
    }
    media = "application/vnd.oci.image"
    config_data = to_json(config)
    manifest_data = to_json(
        {
            "schemaVersion": 2,
            "mediaType": f"{media}.manifest.v1+json",
            "config": descriptor(f"{media}.config.v1+json", config_data),
            "layers": [descriptor(f"{media}.layer.v1.tar+gzip", packed)],
        }
    )
    entry = descriptor(f"{media}.manifest.v1+json", manifest_data)
    annotations = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
    }
    blobs = {
        f"blobs/sha256/{_digest(data).removeprefix('sha256:')}": data
        for data in (config_data, manifest_data, packed)
    }
    write_layout(output, entry | {"annotations": annotations}, blobs)
    return len(packed)


def write_layout(output: Path, entry: dict[str, Any], blobs: dict[str, bytes]) -> None:
    """Write an image layout with `blobs` by their paths, whose index.json has the one `entry`."""
    files = {
        "oci-layout": to_json({"imageLayoutVersion": "1.0.0"}),
        "index.json": to_json({"schemaVersion": 2, "manifests": [entry]}),
        **blobs,
    }
    archive = Layer()
    for path, data in files.items():
        archive.file(path, data)
    part = output.with_name(output.name + ".part")
    part.write_bytes(archive.tar())
    part.replace(output)


def to_json(document: object) -> bytes:
    """The one form of `document`: sorted, without spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """The reference to the blob `data` (image-spec, descriptor.md)."""
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
