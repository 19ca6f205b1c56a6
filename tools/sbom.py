"""The software bill of materials of an executable: CycloneDX 1.6 as JSON (ECMA-424).

The same executable gives the same bytes: no time, and a serial number made from the content.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from coredumpd import __version__
from tools import shipped


def document(executable: Path, components: Iterable[shipped.Component]) -> str:
    """The bill of `executable`, which carries `components`."""
    digest = hashlib.sha256(executable.read_bytes()).hexdigest()
    program = Component(
        name="coredumpd",
        version=__version__,
        type=ComponentType.APPLICATION,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        bom_ref="coredumpd",
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, digest))
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the schema lets it be absent
    bom.metadata.component = program
    parts = [_component(component) for component in components]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(program, parts)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return str(outputter.output_as_string(indent=1)) + "\n"


def _component(component: shipped.Component) -> Component:
    namespace = "debian" if component.kind == "deb" else None
    url = PackageURL(component.kind, namespace, component.name, component.version)
    return Component(
        name=component.name,
        version=component.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[DisjunctiveLicense(name=component.licence)],
    )
