from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coredumpd import errors
from coredumpd.kube import collection


def thing(name: str, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}}


class Api:
    """Answers and watches as scripted; an exception in a script is raised."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[dict[str, str]] = []

    async def request(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        self.asked.append(named["query"])
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 200, answer

    async def watch(self, path: str, **named: Any) -> AsyncIterator[dict[str, Any]]:
        self.asked.append(named["query"])
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def heard(api: Api, count: int) -> list[tuple[str, str | None]]:
    async def listen() -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        async for kind, item in collection.follow(
            api, "/things", {"fieldSelector": "x"}, retry_s_min=0.001
        ):
            found.append((kind, item and item["metadata"]["name"]))
            if len(found) == count:
                break
        return found

    return asyncio.run(listen())


def page(*names: str, version: str = "5", token: str = "") -> dict[str, Any]:
    meta = {"resourceVersion": version, "continue": token}
    return {"metadata": meta, "items": [thing(name) for name in names]}


def test_every_page_is_told_then_every_change_from_there_on() -> None:
    changes = [
        {"type": "MODIFIED", "object": thing("a", "6")},
        {"type": "BOOKMARK", "object": thing("", "8")},
    ]
    api = Api([page("a", token="next"), page("b")], [changes, [errors.Expired("")]])
    assert heard(api, 5) == [
        ("LISTING", None),
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("LISTED", None),
        ("MODIFIED", "a"),
    ]
    assert [asked.get("continue") for asked in api.asked[:2]] == [None, "next"]
    assert api.asked[2]["resourceVersion"] == "5"
    assert all(asked["fieldSelector"] == "x" for asked in api.asked)


def test_a_watch_that_ends_goes_on_from_its_last_bookmark() -> None:
    bookmark = {"type": "BOOKMARK", "object": thing("", "8")}
    added = {"type": "ADDED", "object": thing("c", "9")}
    api = Api([page()], [[bookmark], [added]])
    assert heard(api, 3)[-1] == ("ADDED", "c")
    assert api.asked[-1]["resourceVersion"] == "8"


@pytest.mark.parametrize("problem", [errors.Expired("old"), errors.Unavailable("away")])
def test_a_watch_that_fails_is_listed_again(problem: Exception) -> None:
    api = Api([page("a"), page("b")], [[problem]])
    assert heard(api, 6)[3:] == [("LISTING", None), ("ADDED", "b"), ("LISTED", None)]


def test_nothing_is_forgotten_while_the_api_is_away() -> None:
    api = Api([errors.Unavailable("away"), errors.Forbidden("no"), page("a")], [])
    assert heard(api, 3) == [("LISTING", None), ("ADDED", "a"), ("LISTED", None)]


def test_every_object_is_read_page_by_page_or_an_error_is_raised() -> None:
    async def names(api: Api) -> list[str]:
        return [one["metadata"]["name"] async for one in collection.every(api, "/things")]

    api = Api([page("a", "b", token="next"), page("c")], [])
    assert asyncio.run(names(api)) == ["a", "b", "c"]
    assert api.asked == [{"limit": "500"}, {"limit": "500", "continue": "next"}]
    with pytest.raises(errors.Unavailable):
        asyncio.run(names(Api([page("a", token="next"), errors.Unavailable("away")], [])))
