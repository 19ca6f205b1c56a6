"""Several at once, answered in order, with a bounded number under way."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def each(
    work: Callable[[_Item], _Answer], items: Iterable[_Item], parallel: int
) -> Iterator[tuple[_Item, _Answer]]:
    """`work` of every item, in `parallel` threads; what it raises is raised here, in turn."""
    with futures.ThreadPoolExecutor(parallel, "store") as pool:
        under_way: collections.deque[tuple[_Item, futures.Future[_Answer]]] = collections.deque()
        try:
            for item in items:
                under_way.append((item, pool.submit(work, item)))
                if len(under_way) >= 2 * parallel:
                    first, answer = under_way.popleft()
                    yield first, answer.result()
            while under_way:
                first, answer = under_way.popleft()
                yield first, answer.result()
        finally:
            for _, waiting in under_way:
                waiting.cancel()
