"""How many objects each namespace has, and how many bytes: ResourceQuota does not reach us. Pure.

Kubernetes applies no ResourceQuota to the kinds of an aggregated API server, so this is ours. The
numbers follow the engine's events; a write of this server counts from before it is made until its
event has come. With several replicas each may admit a few more before it sees the others' writes.
Belongs to the event loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from coredumpd import errors
from coredumpd.server import kinds
from coredumpd.server.endpoints import churn
from coredumpd.settings import limits

_RESOURCE = f"{kinds.ENDPOINT.plural}.{kinds.GROUP}"
COUNT, SIZE = f"count/{_RESOURCE}", f"size/{_RESOURCE}"


@dataclasses.dataclass
class Amount:
    """Objects and their bytes."""

    objects: int = 0
    size: int = 0

    def add(self, other: Amount, sign: int = 1) -> None:
        """Add `other`, or take it away."""
        self.objects += sign * other.objects
        self.size += sign * other.size


@dataclasses.dataclass(frozen=True)
class Difference:
    """One write: how much more, or less, its namespace has since, and the bytes in the history."""

    namespace: str
    amount: Amount
    revision: int
    written: int = 0


@dataclasses.dataclass(eq=False)
class Write:
    """A write of this server; `revision` is set when it was made."""

    namespace: str
    amount: Amount
    revision: int | None = None


class Usage:
    """Admits what the limits allow. `refused` is called with the name of the limit each time."""

    def __init__(
        self,
        bounds: limits.ObjectLimitsSettings,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bounds = bounds
        self._refused = refused
        self._churn = churn.Churn(bounds.historySize)
        self._used: defaultdict[str, Amount] = defaultdict(Amount)
        self._total = Amount()
        self._unseen: list[Write] = []  # ours that have not come as an event yet
        self._revision: int | None = None

    def start(self, used: Mapping[str, Amount], revision: int) -> None:
        """These are all objects as of `revision`; differences above it follow."""
        unseen = [one for one in self._unseen if one.revision is None or one.revision > revision]
        self._used, self._total = defaultdict(Amount), Amount()
        self._unseen, self._revision = unseen, revision
        for namespace, amount in used.items():
            self._add(namespace, amount)
        for write in unseen:
            self._add(write.namespace, write.amount)

    def follow(self, differences: Iterable[Difference]) -> None:
        """Events of the engine, in order."""
        for one in differences:
            self._add(one.namespace, one.amount)
            self._churn.wrote(one.namespace, one.written)
            self.advance(one.revision)

    def advance(self, revision: int) -> None:
        """All events up to `revision` have come: our own writes count no more by themselves."""
        self._revision = revision
        for write in [one for one in self._unseen if one.revision is not None]:
            self._forget_seen(write)

    @contextlib.contextmanager
    def admit(self, namespace: str, name: str, more: Amount, written: int = 0) -> Iterator[Write]:
        """Count `more` while the block runs, which sets the revision of the write that it made.

        `written` is the size of the object. Raises Forbidden, worded as ResourceQuota words it;
        TooManyRequests for a namespace that writes too much; Unavailable before `start`.
        """
        self._check(namespace, name, more)
        with self._history(namespace, written):
            write = Write(namespace, more)
            self._add(namespace, more)
            self._unseen.append(write)
            try:
                yield write
            finally:
                if write.revision is None:  # it was not made
                    write.revision = 0
                self._forget_seen(write)

    def _check(self, namespace: str, name: str, more: Amount) -> None:
        if self._revision is None:
            raise errors.Unavailable("the objects have not been counted yet")
        used, bounds = self._used.get(namespace, Amount()), self._bounds
        for resource, wish, own, everybody, most, total in (
            (COUNT, more.objects, used.objects, self._total.objects, bounds.namespaceObjects,
             bounds.totalObjects),
            (SIZE, more.size, used.size, self._total.size, bounds.namespaceSize,
             bounds.totalSize),
        ):  # fmt: skip
            limit = allowed(own, everybody, most, total)
            if wish > 0 and own + wish > limit:
                self._refused(resource.partition("/")[0])
                raise errors.Forbidden(
                    f'{_RESOURCE} "{name}" is forbidden: exceeded quota: objectLimits, requested: '
                    f"{resource}={wish}, used: {resource}={own}, limited: {resource}={limit}"
                )

    @contextlib.contextmanager
    def _history(self, namespace: str, written: int) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._churn.hold(namespace, written))
            except errors.TooManyRequests:
                self._refused("history")
                raise
            yield

    def _forget_seen(self, write: Write) -> None:
        seen = write.revision is not None and write.revision <= (self._revision or 0)
        if seen and write in self._unseen:
            self._unseen.remove(write)
            self._add(write.namespace, write.amount, -1)

    def _add(self, namespace: str, amount: Amount, sign: int = 1) -> None:
        used = self._used[namespace]
        used.add(amount, sign)
        self._total.add(amount, sign)
        if not used.objects and not used.size:
            del self._used[namespace]


def allowed(own: int, everybody: int, most: int, total: int) -> int:
    """How much a namespace may have that has `own` of what `everybody` has together.

    Never more than `most`, nor more than it leaves free of `total`: so the last place is not taken
    by the one who has most.
    """
    return max(0, min(most, (total - (everybody - own) + 1) // 2))
