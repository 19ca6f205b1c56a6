"""A collection of objects, kept in step: listed, then watched, for ever."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from coredumpd import errors
from coredumpd.kube import api as apis

PAGE = 500  # objects; a list of all namespaces must not be in memory at once
RETRY_S_MIN, RETRY_S_MAX = 1.0, 60.0
LISTING, LISTED = "LISTING", "LISTED"
_log = logging.getLogger(__name__)


async def follow(
    api: apis.Api, path: str, query: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, Any]]:
    """What becomes of the objects below `path`, without end.

    (LISTING, None): forget all, ("ADDED" or "MODIFIED", object), ("DELETED", object),
    (LISTED, None): from now on what was told is all there is. An API that is away is waited for;
    what was told stands meanwhile.
    """
    retry_s = RETRY_S_MIN
    while True:
        began = time.monotonic()
        try:
            async for news in _once(api, path, query or {}):
                yield news
        except errors.Expired:
            pass  # listed again
        except errors.CoredumpdError as error:
            _log.warning("%s cannot be followed, again in %.0f s: %s", path, retry_s, error)
        long_s = time.monotonic() - began
        retry_s = RETRY_S_MIN if long_s > RETRY_S_MAX else min(RETRY_S_MAX, 2 * retry_s)
        await asyncio.sleep(retry_s / 2)


async def _once(api: apis.Api, path: str, query: dict[str, str]) -> AsyncIterator[tuple[str, Any]]:
    """List, then watch until an error ends it. Raises what the client raises."""
    token, version = "", ""
    first = True
    while first or token:
        page_query = query | {"limit": str(PAGE)} | ({"continue": token} if token else {})
        _, page = await api.request("GET", path, query=page_query)
        if first:
            yield LISTING, None
            first = False
        for item in page["items"]:
            yield "ADDED", item
        meta = page.get("metadata") or {}
        token, version = meta.get("continue") or "", meta.get("resourceVersion") or version
    yield LISTED, None
    while True:
        began = time.monotonic()
        since = query | {"resourceVersion": version, "allowWatchBookmarks": "true"}
        async for event in api.watch(path, query=since):
            version = event["object"]["metadata"].get("resourceVersion") or version
            if event["type"] != "BOOKMARK":
                yield event["type"], event["object"]
        # A server may end a watch early, but not as fast as it can be asked.
        await asyncio.sleep(max(0.0, RETRY_S_MIN - (time.monotonic() - began)))
