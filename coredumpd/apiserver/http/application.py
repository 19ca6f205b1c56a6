"""The route table as a Tornado application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tornado import routing, web

from coredumpd import errors
from coredumpd.apiserver.auth import rights as policies
from coredumpd.apiserver.http import handler


class Unknown(handler.Handler):
    """Whatever no route matches. Who may not look, does not learn what is not there."""

    policy = policies.Path()

    async def admit(self) -> None:
        """Refuses the unknown path, after the usual checks."""
        await super().admit()
        raise errors.NotFound.about("path", "the server could not find the requested resource")


Route = tuple[str, type[handler.Handler], dict[str, Any]]


def application(
    routes: Sequence[Route], guard: handler.Guard, log_request: Callable[[Any], None] | None = None
) -> web.Application:
    """The Tornado application. Raises TypeError for a handler class that declares no policy."""
    for _, kind, _ in routes:
        if not issubclass(kind, handler.Handler) or not hasattr(kind, "policy"):
            raise TypeError(f"{kind.__name__} declares no policy: it may not serve anybody")
    return web.Application(
        [routing.URLSpec(path, kind, arguments) for path, kind, arguments in routes],
        default_handler_class=Unknown,
        guard=guard,
        log_function=log_request or (lambda _: None),
    )
