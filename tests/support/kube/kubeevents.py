"""A kube-apiserver's events, in a dictionary."""

from __future__ import annotations

from typing import Any

from coredumpd import errors


class Api:
    """`kube.api.Requests`, and what was asked of it."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        self.requests = 0

    async def request(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        name = path.rsplit("/", 1)[1]
        self.requests += 1
        match method:
            case "POST" if body["metadata"]["name"] in self.events:
                raise errors.AlreadyExists("it is there")
            case "POST":
                self.events[body["metadata"]["name"]] = body
            case "PATCH":
                self.events[name] |= body
        return 200, None
