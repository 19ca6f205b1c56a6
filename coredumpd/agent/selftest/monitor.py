"""When the self-test runs, and who is told: the log, an Event on the Node, /healthz, a metric.

It runs after core_pattern was set, whenever core_pattern or the handler has changed or was put
back, again and again while it fails, and every hour. With `capture: auto`, a mode that fails gives
way to the other one if that passes. Runs on the event loop.

Tested in: tests/integration/agent/test_self_test.py
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

from coredumpd import aiokit, errors
from coredumpd.agent import tally
from coredumpd.agent.selftest import causes, diagnosis, facts, helper_rules, probe
from coredumpd.formats import event_reasons
from coredumpd.formats import host_dir as host_dirs

CHECK_EVERY_S = 0.5
REPEAT_S = 3600.0
RETRY_S_MIN, RETRY_S_MAX = 10.0, 60.0
_log = logging.getLogger(__name__)


class Node(Protocol):
    """The capture of this node, as the guard has set it up."""

    @property
    def mode(self) -> str:
        """`pipe` or `socket`."""

    def state(self) -> Hashable:
        """Equal for as long as nothing has changed; None while the settings are not ours."""

    @property
    def is_free(self) -> bool:
        """May the mode be chosen?"""

    async def switch(self) -> None:
        """Capture by the other mode. Raises CoredumpdError, and stays with the one it has."""


class Verdict:
    """One self-test's cause and facts."""

    def __init__(self, cause: causes.Cause, known: diagnosis.Facts) -> None:
        self.cause = cause
        self.facts = known

    def __str__(self) -> str:
        return diagnosis.sentence(self.cause, self.facts)


class Monitor:
    """Tests the node; `verdict` is the last one, None before the first."""

    def __init__(
        self,
        host_dir: Path,
        node: Node,
        counters: tally.Tally,
        event_writer: tally.NodeEvents,
        announce: Callable[[int | None], None],
    ) -> None:
        """`announce`: as `probe.Probe` takes it."""
        self._host_dir = host_dir
        self._node = node
        self._tally = counters
        self._events = event_writer
        self._probe = probe.Probe(host_dir, announce)
        self._backoff = aiokit.Backoff(RETRY_S_MIN, RETRY_S_MAX, jitter=0.0)
        self._tested: Hashable = None  # the state that the verdict is about
        self._due_s = 0.0  # then it is tested again, though nothing has changed
        self._other = ""  # why `capture: auto` left the other mode
        self._text = ""  # logged last
        self.verdict: Verdict | None = None

    async def run(self) -> None:
        """Test for ever."""
        while True:
            try:
                await self._turn()
            except errors.CoredumpdError as error:
                self._log_once(logging.ERROR, str(error))
                self._due_s = time.monotonic() + RETRY_S_MIN
                self._tested = self._state()
            await asyncio.sleep(CHECK_EVERY_S)

    def problems(self) -> list[str]:
        """For /healthz: why crashes are not captured."""
        verdict = self.verdict
        return [_problem(verdict)] if verdict is not None and verdict.cause.fails else []

    def notices(self) -> list[str]:
        """For /healthz, which does not fail because of them."""
        verdict, other = self.verdict, [self._other] if self._other else []
        if verdict is None or verdict.cause.fails or verdict.cause is causes.PASSED:
            return other
        return [*other, f"self-test: {verdict}"]

    def _state(self) -> Hashable:
        state = self._node.state()
        if state is None:
            return None
        counters = (self._tally.corrections, self._tally.listener_failures)
        return (state, *(sum(counter.values.values()) for counter in counters))

    async def _turn(self) -> None:
        state = self._state()
        if state is None or (state == self._tested and time.monotonic() < self._due_s):
            return
        changed = state != self._tested
        verdict = await self._test()
        if verdict is not None and verdict.cause.fails:
            verdict = await self._mend(verdict, changed)
        if verdict is None:
            return  # something has changed meanwhile: what it says is about the past
        if changed:
            self._backoff.reset()
        self._tested = self._state()
        passed = verdict.cause is causes.PASSED
        self._due_s = time.monotonic() + (REPEAT_S if passed else self._backoff.next())
        if verdict.cause is not causes.BUSY or self.verdict is None:
            await self._tell(verdict)

    async def _test(self) -> Verdict | None:
        state = self._state()
        base = diagnosis.Facts(str(self._host_dir), self._node.mode)
        try:
            known = facts.of_result(base, await self._probe.run())
        except errors.StorageError as error:
            known = dataclasses.replace(base, begun=False, problem=str(error))
        if not known.passed:
            known = await aiokit.call(facts.gather, known)
        if self._state() != state:
            return None
        cause = diagnosis.cause_of(known)
        self._tally.self_tests.inc(label=cause.name)
        return Verdict(cause, known)

    async def _mend(self, verdict: Verdict, is_new: bool) -> Verdict:
        """Try what may help; the verdict then, or `verdict` where nothing does.

        The other mode is tried once, when the failure `is_new`.
        """
        if verdict.cause is causes.SELINUX:
            launcher = str((self._host_dir / host_dirs.CURRENT_LAUNCHER).resolve())
            before = await aiokit.call(helper_rules.label_as_helper, launcher)
            if before is not None:
                second = await self._test_other()
                if second is not None and not second.cause.fails:
                    _log.info("%s has the label of this node's own coredump helper", launcher)
                    return second
                helper_rules.put_label(launcher, before)
        if not self._node.is_free or not is_new:
            return verdict
        mode = self._node.mode
        try:
            await self._node.switch()
        except errors.CoredumpdError as error:
            _log.info("the other mode of capture is not possible either: %s", error)
            return verdict
        second = await self._test_other()
        if second is not None and not second.cause.fails:
            self._other = f"capture: auto has left mode {mode}: {verdict}"
            _log.warning("%s", self._other)
            return second
        await self._node.switch()
        return verdict

    async def _test_other(self) -> Verdict | None:
        try:
            return await self._test()
        except errors.CoredumpdError as error:
            _log.warning("self-test: %s", error)
            return None

    async def _tell(self, verdict: Verdict) -> None:
        before, self.verdict = self.verdict, verdict
        self._tally.self_test = verdict.cause.name
        if verdict.cause.fails:
            self._log_once(logging.ERROR, _problem(verdict))
            if before is None or before.cause is not verdict.cause:
                await self._events.node(event_reasons.SELF_TEST_FAILED, _problem(verdict))
            return
        if self._other and verdict.facts.mode == "pipe":
            self._other = ""
        self._log_once(logging.INFO, f"self-test by {verdict.facts.mode}: {verdict}")
        if before is not None and before.cause.fails:
            await self._events.node(event_reasons.SELF_TEST_PASSED, f"self-test: {verdict}")

    def _log_once(self, level: int, text: str) -> None:
        if text != self._text:
            _log.log(level, "%s", text)
        self._text = text

    def clear(self) -> None:
        """Remove what a test that was cut short has left."""
        self._probe.clear()


def _problem(verdict: Verdict) -> str:
    return f"crashes of this node are not captured: {verdict}"
