"""What kube-controller-manager has to say about us."""

from __future__ import annotations

import re

NAME = "kube-controller-manager"
# Its reflectors of aggregated APIs name the type that they list, not the group.
_COMPLAINT = re.compile(
    r"^[EW]\d{4} .*(?:coredump\.fujitsu\.com|PartialObjectMetadata).*$", re.MULTILINE
)


def complaints(log: str) -> list[str]:
    """Errors and warnings about our group, line by line."""
    return _COMPLAINT.findall(log)
