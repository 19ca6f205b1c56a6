"""`…/backtrace`: the stack as text. Its own right, which does not allow reading the memory.

Tested in: tests/integration/server/test_coredumps.py
"""

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
    """GET of the text that an analysis left beside the dump."""

    audited = True

    def initialize(  # type: ignore[override]
        self,
        rights: rights.Rights,
        resource: archive.Dumps,
        inventory: inventory.Inventory,
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.resource = resource
        self.inventory = inventory
        super().initialize(rights)

    async def get(self, namespace: str, name: str) -> None:
        """The text, or 404 with the reason why there is none."""
        owner, dumps = await self.resource.dumps(namespace, name, None, None)
        key, record = dumps[0]
        try:
            data = await self.inventory.text(key, FILE, BYTES_MAX)
        except errors.NotFound as error:
            reason = "it has not been analysed"
            if record.sealed is not None:
                reason = "it is encrypted, and this server cannot read it"
            raise errors.NotFound(f"no backtrace of {owner}: {reason}") from error
        self.answer_bytes(data, "text/plain; charset=utf-8")

    head = get


def routes(resource: archive.Dumps, dumps: inventory.Inventory) -> list[application.Route]:
    """The route of backtraces."""
    place = rf"{kinds.API_GROUP.path}/namespaces/(?P<namespace>[^/]+)/{kinds.COREDUMP.plural}"
    arguments = {"resource": resource, "inventory": dumps}
    demanded = rights.Resource(kinds.GROUP, kinds.VERSION, kinds.COREDUMP.plural, "backtrace")
    return [
        application.Route(rf"{place}/(?P<name>[^/]+)/backtrace", Backtrace, demanded, arguments)
    ]
