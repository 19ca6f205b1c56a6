"""Whatever the image carries of others: Python distributions, the interpreter, Debian's libraries.

Of each its name, version and licence texts: for the image's /usr/share/licenses, and for the SBOM.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Component:
    """One work of others."""

    kind: str  # pypi, deb or generic, as a package URL has it
    name: str
    version: str
    licence: str  # an SPDX expression or the author's own words
    texts: tuple[tuple[str, bytes], ...]  # file names and contents


def distributions() -> list[Component]:
    """What requirements.txt pins, as it is installed here.

    Raises ValueError when another version is installed, or one brings no licence text.
    """
    return [
        _distribution(name, version) for name, version in _PIN.findall(REQUIREMENTS.read_text())
    ]


def _distribution(name: str, version: str) -> Component:
    installed = importlib.metadata.distribution(name)
    if installed.version != version:
        raise ValueError(f"{name} {installed.version} is installed, requirements.txt has {version}")
    texts = []
    for file in installed.files or ():
        if ".dist-info" in str(file) and _LICENCE_FILE.search(file.name):
            texts.append((file.name, Path(str(file.locate())).read_bytes()))
    metadata = installed.metadata
    words = metadata.get("License-Expression") or metadata.get("License") or ""
    licence = words.strip().split("\n")[0][:100]
    if not licence:
        classifiers = metadata.get_all("Classifier") or []
        licences = [text for text in classifiers if text.startswith("License ::")]
        licence = " AND ".join(text.rpartition(" :: ")[2] for text in licences)
    if not texts:
        header = (installed.read_text("METADATA") or "").partition("\n\n")[0]
        texts = [("METADATA", header.encode())]
    return Component("pypi", name.lower(), version, licence or "see the text", tuple(sorted(texts)))


def debian_packages(libraries: Iterable[str]) -> list[Component]:
    """The Debian packages that own `libraries`, by absolute path. Raises ValueError for none."""
    packages: dict[str, Component] = {}
    for library in libraries:
        package = _owner(library)
        if package not in packages:
            command = ["dpkg-query", "-W", "-f", "${Version}", package]
            version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            copyright_file = Path("/usr/share/doc") / package.partition(":")[0] / "copyright"
            texts = (("copyright", copyright_file.read_bytes()),)
            name = package.partition(":")[0]
            packages[package] = Component("deb", name, version, "see the text", texts)
    return sorted(packages.values(), key=lambda package: package.name)


def _owner(library: str) -> str:
    """The package of a file. dpkg knows it by its path of before or after /lib became a link."""
    path = Path(library).resolve()
    for candidate in (str(path), str(path).removeprefix("/usr"), library):
        done = subprocess.run(
            ["dpkg-query", "-S", candidate], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.rpartition(": ")[0].split(",")[0]
    raise ValueError(f"{library} belongs to no Debian package: its licence is not known")
