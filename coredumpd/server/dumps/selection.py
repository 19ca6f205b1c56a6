"""Dumps of one pod, selected by container and by id."""

from __future__ import annotations

from coredumpd import errors
from coredumpd.server.dumps import inventory


def select(
    found: inventory.Found, who: str, container: str | None, id: str | None
) -> inventory.Found:
    """The dumps of a container, or the one with an id. Raises NotFound that says what there is."""
    if not found:
        raise errors.NotFound.about("spec.podUID", f"no core dump of {who} is stored")
    chosen = found
    if container is not None:
        chosen = [pair for pair in chosen if pair[0].container == container]
        if not chosen:
            there = ", ".join(sorted({key.container for key, _ in found}))
            raise errors.NotFound.about(
                "container",
                f"no core dump of container {container!r} of {who}; containers with dumps: {there}",
            )
    if id is not None:
        chosen = [pair for pair in chosen if pair[0].id == id]
        if not chosen:
            raise errors.NotFound.about("id", f"no core dump {id!r} of {who}")
    return chosen
