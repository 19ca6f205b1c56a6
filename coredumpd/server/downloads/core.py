"""`coredumps/NAME/proxy/core`: the core itself, the ELF file, with Range. The right is `proxy`'s.

A debugger reads megabytes of it: only the gzip members that hold them are read and decompressed.

Tested in: tests/integration/server/test_core.py
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from coredumpd import errors
from coredumpd.apiserver.http import application
from coredumpd.archive import content
from coredumpd.formats import record as records
from coredumpd.server import kinds
from coredumpd.server.downloads import archive, ranges

MEDIA_TYPE = "application/octet-stream"
_PARAMETERS = ("timeout", "pretty")


class Core(archive.Download):
    """GET and HEAD of a core."""

    async def get(self, namespace: str, name: str) -> None:
        """The core, or part of it; 404 for one that is encrypted."""
        for parameter in sorted(set(self.query) - set(_PARAMETERS)):
            raise errors.BadRequest.about(parameter, f"unknown query parameter {parameter!r}")
        owner, dumps = await self.resource.dumps(namespace, name, None, None)
        key, record = dumps[0]
        if record.sealed is not None:
            raise errors.NotFound(
                f"no readable core of {owner}: it is encrypted; download it, and open it with its"
                " key"
            )
        store = await self.inventory.own(namespace)
        index = await self.inventory.run(store.index, key, record)
        reply = ranges.decide(self.request.headers, 0, record.size, _etag(record))
        chunks = content.read(store.open_core, key, index, reply.first, reply.end)
        await self.reply(reply, MEDIA_TYPE, f"{name}.core", chunks)

    head = get


def _etag(record: records.CrashRecord) -> str:
    digest = hashlib.sha256(b"coredumpd core 1\n" + record.encode())
    return f'"{digest.hexdigest()[:40]}"'


def routes(archives: Iterable[application.Route]) -> list[application.Route]:
    """The route of cores, beside `coredumps/NAME/proxy` of `archives`: its rights and arguments."""
    proxy = rf"/{kinds.COREDUMP.plural}/(?P<name>[^/]+)/proxy"
    return [
        dataclasses.replace(route, path=f"{route.path}/core", handler=Core)
        for route in archives
        if route.path.endswith(proxy)
    ]
