"""The route table as a Tornado application."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tornado import routing, web

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import handler

Application = web.Application


@dataclasses.dataclass(frozen=True)
class Route:
    """One line of the route table: paths that match `path` are answered by `handler`.

    `rights` is what a caller must be allowed to do, and has no default: a route that forgets it
    cannot be written. `arguments` go to the handler's `initialize`. Raises TypeError for a handler
    that is not ours, since it would check nobody, and for rights that are none.
    """

    path: str
    handler: type[handler.Handler]
    rights: rights.Rights
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.handler, type) and issubclass(self.handler, handler.Handler)):
            raise TypeError(f"{self.path}: {self.handler!r} is not a handler that checks rights")
        if isinstance(self.rights, type) or not isinstance(self.rights, rights.Rights):
            raise TypeError(f"{self.path}: {self.rights!r} does not say who may call it")


class Unknown(handler.Handler):
    """Every path that no route matches. 403 before 404: a refused caller learns of no path."""

    async def admit(self) -> None:
        """Refuses the unknown path, after the usual checks."""
        await super().admit()
        raise errors.NotFound.about("path", "the server could not find the requested resource")


def application(routes: Sequence[Route], guard: handler.Guard) -> Application:
    """The Tornado application that serves `routes`."""
    return web.Application(
        [
            routing.URLSpec(route.path, route.handler, {"rights": route.rights, **route.arguments})
            for route in routes
        ],
        default_handler_class=Unknown,
        default_handler_args={"rights": rights.Path()},
        guard=guard,
        log_function=lambda _: None,  # the audit log and the metrics say it
    )
