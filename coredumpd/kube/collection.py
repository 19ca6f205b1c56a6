"""All objects of a collection: read page by page, or listed and then watched, without end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from coredumpd import aiokit, errors
from coredumpd.kube import api

PAGE = 500  # objects; a list of all namespaces must not be in memory at once
RETRY_S_MIN, RETRY_S_MAX = 1.0, 60.0
LISTING, LISTED = "LISTING", "LISTED"
_TIMEOUT_S = 15.0
_log = logging.getLogger(__name__)


async def pages(
    kube: api.Requests,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    headers: api.Headers = api.JSON,
    timeout_s: float = _TIMEOUT_S,
) -> AsyncIterator[dict[str, Any]]:
    """The lists that together hold every object below `path`; each request may take `timeout_s`.

    Raises what the client raises: a reader that gets no error has seen every object.
    """
    token = ""
    while True:
        page_query = {**(query or {}), "limit": str(PAGE)} | ({"continue": token} if token else {})
        _, page = await kube.request(
            "GET", path, query=page_query, headers=headers, timeout_s=timeout_s
        )
        yield page
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return


async def every(
    kube: api.Requests,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> AsyncIterator[dict[str, Any]]:
    """Every object that `query` selects below `path`. Raises what the client raises, even late."""
    async for page in pages(kube, path, query, timeout_s=timeout_s):
        for document in page["items"]:
            yield document


async def follow(
    kube: api.Api,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    retry_s_min: float = RETRY_S_MIN,
) -> AsyncIterator[tuple[str, Any]]:
    """Every object below `path`, then every change of them, without end.

    (LISTING, None): forget all; ("ADDED" or "MODIFIED", object); ("DELETED", object);
    (LISTED, None): all objects there are have been yielded since LISTING. While the API cannot be
    reached, nothing is yielded: what was yielded before still holds.
    """
    backoff = aiokit.Backoff(retry_s_min, RETRY_S_MAX)
    while True:
        began = time.monotonic()
        problem: errors.CoredumpdError | None = None
        try:
            async for change in _once(kube, path, query or {}, retry_s_min):
                yield change
        except errors.Expired:
            pass  # listed again
        except errors.CoredumpdError as error:
            problem = error
        if time.monotonic() - began > RETRY_S_MAX:
            backoff.reset()
        delay_s = backoff.next()
        if problem is not None:
            _log.warning("%s cannot be followed, again in %.0f s: %s", path, delay_s, problem)
        await asyncio.sleep(delay_s)


async def _once(
    kube: api.Api, path: str, query: Mapping[str, str], watch_s_min: float
) -> AsyncIterator[tuple[str, Any]]:
    """List, then watch until an error ends it. Raises what the client raises."""
    version, first = "", True
    async for page in pages(kube, path, query):
        if first:
            yield LISTING, None
            first = False
        for document in page["items"]:
            yield "ADDED", document
        version = (page.get("metadata") or {}).get("resourceVersion") or version
    yield LISTED, None
    while True:
        began = time.monotonic()
        since = {**query, "resourceVersion": version, "allowWatchBookmarks": "true"}
        async for event in kube.watch(path, query=since):
            version = event["object"]["metadata"].get("resourceVersion") or version
            if event["type"] != "BOOKMARK":
                yield event["type"], event["object"]
        # A server may end a watch early, but must not be asked again as fast as it can answer.
        await asyncio.sleep(max(0.0, watch_s_min - (time.monotonic() - began)))
