"""`…/backtrace`: the stack as text, under a right of its own: without the memory it came from."""

from __future__ import annotations

from coredumpd import errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler
from coredumpd.server import kinds
from coredumpd.server.downloads import archive
from coredumpd.server.dumps import inventory

FILE = "backtrace.txt"
BYTES_MAX = 4 * 1024 * 1024


class Backtrace(handler.Handler):
    """GET of what an analysis left beside the dump."""

    audited = True

    def initialize(  # type: ignore[override]
        self,
        rights: rights.Rights,
        resource: archive.Dumps,
        stored: inventory.Inventory,
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.resource = resource
        self.stored = stored
        super().initialize(rights)

    async def get(self, namespace: str, name: str) -> None:
        """The text, or 404 with the reason why there is none."""
        who, found = await self.resource.dumps(namespace, name, None, None)
        try:
            data = await self.stored.text(found[0][0], FILE, BYTES_MAX)
        except errors.NotFound as error:
            why = "it has not been analysed"
            if found[0][1].sealed is not None:
                why = "it is encrypted, and nobody here can read it"
            raise errors.NotFound(f"no backtrace of {who}: {why}") from error
        self.answer_bytes(data, "text/plain; charset=utf-8")

    head = get


def routes(resource: archive.Dumps, stored: inventory.Inventory) -> list[application.Route]:
    """What this module serves."""
    place = rf"{kinds.API_GROUP.path}/namespaces/(?P<namespace>[^/]+)/{kinds.COREDUMP.plural}"
    arguments = {"resource": resource, "stored": stored}
    demanded = rights.Resource(kinds.GROUP, kinds.VERSION, kinds.COREDUMP.plural, "backtrace")
    return [
        application.Route(rf"{place}/(?P<name>[^/]+)/backtrace", Backtrace, demanded, arguments)
    ]
