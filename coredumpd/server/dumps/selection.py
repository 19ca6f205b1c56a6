"""Dumps of one pod, selected by container and by id. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from coredumpd import errors
from coredumpd.server.dumps import inventory


def select(
    dumps: Sequence[inventory.Dump], owner: str, container: str | None, id: str | None
) -> inventory.Dumps:
    """The dumps of a container, or the one with an id; None: any.

    `owner` names, in messages, what the dumps are of. Raises NotFound that says what there is.
    """
    if not dumps:
        raise errors.NotFound.about("spec.podUID", f"no core dump of {owner} is stored")
    matches = list(dumps)
    if container is not None:
        matches = [dump for dump in matches if dump.key.container == container]
        if not matches:
            containers = ", ".join(sorted({dump.key.container for dump in dumps}))
            raise errors.NotFound.about(
                "container",
                f"no core dump of container {container!r} of {owner}; "
                f"containers with dumps: {containers}",
            )
    if id is not None:
        matches = [dump for dump in matches if dump.key.id == id]
        if not matches:
            raise errors.NotFound.about("id", f"no core dump {id!r} of {owner}")
    return matches
