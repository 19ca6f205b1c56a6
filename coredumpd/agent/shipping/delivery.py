"""One try to ship one entry: attribute it, check that it may leave, seal, commit and free it."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Callable

from coredumpd import aiokit, errors
from coredumpd.agent.shipping import attribution
from coredumpd.agent.shipping import entry as entries
from coredumpd.formats import record as records
from coredumpd.gzipio import check


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The steps before a commit. `refuses`: must an attributed dump be removed, not shipped?

    `sealer` None: without Kubernetes, no namespace can ask for sealing.
    """

    attributor: entries.Attributor
    refuses: Callable[[records.CrashRecord], bool] = lambda _: False
    sealer: entries.Sealer | None = None


class Outcome(enum.Enum):
    """Why an entry does not wait any longer."""

    SHIPPED = "the store has committed it"
    REFUSED = "it must not be shipped, and was removed"
    WITHHELD = "it stays on the node, because nothing proves whose it is"
    GONE = "it was removed by hand, folded, or set aside"


class Delivery:
    """Takes entries to `store`, and reports the fate of those that need no further try."""

    def __init__(
        self,
        store: entries.Store,
        preparation: Preparation,
        reporter: entries.Reporter,
        keep_free: Callable[[], int | None] = lambda: 0,
    ) -> None:
        """`keep_free`: bytes that a commit leaves free on the spool's disk (see `spool.room`).

        0 where the store is on another disk.
        """
        self._keep_free = keep_free
        self._store = store
        self._preparation = preparation
        self._reporter = reporter
        self.stopping = False  # from then on no commit begins

    async def attempt(self, waiting: entries.Waiting) -> Outcome:
        """Try once. Raises a CoredumpdError when the entry could not be shipped."""
        entry = waiting.entry
        try:
            before = await aiokit.call(entry.record)
        except errors.NotFound:  # only here: a store that raises this is to be tried again
            return Outcome.GONE
        try:
            record = await self._preparation.attributor.attribute(before)
        except attribution.NamespaceGoneError:
            return await self._refuse(entry, before)  # as the server removes its other dumps
        if self._preparation.refuses(record):
            return await self._refuse(entry, record)
        if record.raw != before.raw:
            # Kept in the spool: the next try, even of the next agent, must use the same key.
            await aiokit.call(entry.update, record)
        record.key()  # raises Invalid for invalid names, before anything is written
        if self._preparation.sealer is not None:
            sealed = await self._preparation.sealer.seal(entry, record)
            if sealed is None:
                return await self._refuse(entry, record)
            record = sealed
        if self.stopping:
            raise errors.Unavailable("the agent is stopping")
        waiting.commit = entries.Progress()
        try:
            await aiokit.call(self._commit, entry, record, waiting.commit)
        finally:
            waiting.commit = None
        await self._reporter.shipped(record)
        return Outcome.SHIPPED

    async def _refuse(self, entry: entries.Entry, record: records.CrashRecord) -> Outcome:
        await aiokit.call(entry.remove)
        await self._reporter.refused(record)
        return Outcome.REFUSED

    def _commit(
        self, entry: entries.Entry, record: records.CrashRecord, progress: entries.Progress
    ) -> None:
        """Free the spool only after the store has it; the core is verified on its way. Blocks."""
        keep_free = self._keep_free()
        if keep_free != 0:
            entry.require_room(record.stored_size, keep_free)
        with contextlib.closing(entry.open_core()) as core:
            index = entry.index(record)
            checked = check.checked(core, record, progress.advance, index)
            self._store.commit(record.key(), record, checked, index)
        entry.remove()
