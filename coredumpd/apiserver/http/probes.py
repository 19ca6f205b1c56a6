"""`/livez`, `/readyz`, `/healthz` with named checks, and `/version`.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import asyncio
import math
import platform
import time
from collections.abc import Awaitable, Callable, Mapping

from coredumpd import __version__, errors
from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application, handler

FRESH_S = 0.5
CHECK_TIMEOUT_S = 3.0  # the kubelet's default patience is 1 s, ours in the manifests is 5 s
Check = Callable[[], Awaitable[None]]


class Probe(handler.Handler):
    """Runs named checks; 200 and `ok`, or 503 with the names. Causes stay in the log."""

    def initialize(  # type: ignore[override]
        self, rights: rights.Rights, checks: Mapping[str, _Shared]
    ) -> None:
        """Tornado's; the arguments come from the route."""
        self.checks = checks
        super().initialize(rights)

    async def get(self) -> None:
        """`?verbose` lists every check, `?exclude=NAME` leaves one out."""
        excluded = self.query.get("exclude")
        names = [name for name in self.checks if name != excluded]
        results = await asyncio.gather(*(self.checks[name].passes() for name in names))
        good = all(results)
        lines = [
            f"[{'+' if passed else '-'}]{name} {'ok' if passed else 'failed'}"
            for name, passed in zip(names, results, strict=True)
        ]
        kind = self.request.path.strip("/").partition("/")[0]
        lines.append(f"{kind} check {'passed' if good else 'failed'}")
        if good and "verbose" not in self.query:
            lines = ["ok"]
        self.set_status(200 if good else 503)
        self.answer_bytes("\n".join(lines).encode(), "text/plain; charset=utf-8")

    head = get


class Version(handler.Handler):
    """`/version`, in the shape of k8s.io/apimachinery's version.Info."""

    async def get(self) -> None:
        """The version."""
        major, minor, *_ = __version__.split(".")
        self.answer(
            {
                "major": major,
                "minor": minor,
                "gitVersion": f"v{__version__}",
                "platform": f"{platform.system().lower()}/{platform.machine()}",
            }
        )

    head = get


class _Shared:
    """A check that runs once for all who ask within `FRESH_S`: anybody may ask at any rate."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._result: asyncio.Task[bool] | None = None
        self._ended_at = -math.inf

    async def passes(self) -> bool:
        """Does it pass, or did it a moment ago?"""
        running = self._result is not None and not self._result.done()
        if self._result is None or not (running or time.monotonic() - self._ended_at < FRESH_S):
            self._result = asyncio.create_task(self._run(), name="probe")
        return await asyncio.shield(self._result)

    async def _run(self) -> bool:
        try:
            await asyncio.wait_for(self._check(), CHECK_TIMEOUT_S)
        except (errors.CoredumpdError, TimeoutError):
            return False
        finally:
            self._ended_at = time.monotonic()
        return True


async def ping() -> None:
    """Passes whenever the loop turns."""


def routes(ready: Mapping[str, Check]) -> list[application.Route]:
    """The routes of probes; `ready` are the checks of readiness."""
    alive = {"checks": {"ping": _Shared(ping)}}
    checks = {"checks": {**alive["checks"], **{name: _Shared(ready[name]) for name in ready}}}
    return [
        application.Route("/livez", Probe, rights.Anybody(), alive),
        application.Route("/readyz", Probe, rights.Anybody(), checks),
        application.Route("/healthz", Probe, rights.Anybody(), checks),
        application.Route(r"/version/?", Version, rights.Path()),
    ]
