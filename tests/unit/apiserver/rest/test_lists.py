from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from coredumpd import errors
from coredumpd.apiserver.rest import lists, outgoing


class Handler:
    """What a list needs of its request."""

    caller = None
    audit_id = "1"
    outcome = "complete"

    def __init__(self) -> None:
        self.data = b""
        self.headers: dict[str, str] = {}
        self.flushed: list[int] = []
        self.sent_bytes = 0
        self.state = "open"

    def write(self, data: bytes) -> None:
        self.data += data

    async def flush(self) -> None:
        self.flushed.append(len(self.data))

    def set_header(self, name: str, value: str) -> None:
        self.headers[name] = value

    def finish(self) -> None:
        self.state = "finished"

    def abort(self) -> None:
        self.state = "aborted"

    def cut(self) -> None:
        self.state = "cut"


def shape(objects: Sequence[dict[str, Any]], meta: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"kind": "List", "metadata": meta, "items": objects}


async def pages_of(*pages: list[int], fails: bool = False) -> lists.Pages:
    for number, page in enumerate(pages):
        last = number == len(pages) - 1 and not fails
        meta = {"resourceVersion": "7", "continue": f"behind {number}"}
        yield lists.Page([{"n": one} for one in page], meta, last)
    if fails:
        raise errors.Unavailable("the engine is away")


def sent(*pages: list[int], fails: bool = False) -> Handler:
    handler = Handler()
    room = outgoing.Outgoing()
    source = pages_of(*pages, fails=fails)
    asyncio.run(lists.send(handler, source, shape, "items", room))  # type: ignore[arg-type]
    assert room.used == 0
    return handler


@pytest.mark.parametrize("pages", [([],), ([1, 2],), ([1], [2]), ([], [1], [], [2]), ([], [])])
def test_pages_become_one_document(pages: tuple[list[int], ...]) -> None:
    handler = sent(*pages)
    document = json.loads(handler.data)
    assert [one["n"] for one in document["items"]] == [*itertools.chain(*pages)]
    assert document["kind"] == "List"
    assert document["metadata"]["continue"] == f"behind {len(pages) - 1}"
    assert handler.sent_bytes == len(handler.data)
    assert len(handler.flushed) == len(pages)
    assert handler.state == "finished"


def test_the_length_of_one_page_is_known_and_that_of_more_is_not() -> None:
    handler = sent([1, 2])
    assert handler.headers["Content-Length"] == str(len(handler.data))
    assert "Content-Length" not in sent([1], [2]).headers


def test_an_error_after_the_first_page_cuts_the_answer() -> None:
    handler = sent([1], [2], fails=True)
    assert handler.state == "aborted"


def test_an_error_before_the_first_page_is_raised() -> None:
    with pytest.raises(errors.Unavailable):
        sent(fails=True)
