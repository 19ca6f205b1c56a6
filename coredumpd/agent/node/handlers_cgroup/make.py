"""Makes the handlers' cgroups on the host, tells the handler of them, and removes them.

Tested in: tests/integration/capture/test_own_cgroup.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from coredumpd import aiokit, durable, errors
from coredumpd.agent.node import host_namespaces
from coredumpd.agent.node.handlers_cgroup import plan
from coredumpd.formats import handler_cgroups
from coredumpd.formats import host_dir as host_dirs

SETTLE_EVERY_S = 60.0
REMOVE_S = 5.0  # for handlers that are still running
_RETRY_S = 0.1
_log = logging.getLogger(__name__)


class Keeper:
    """Keeps the cgroups there while the guard runs, and knows what the node does not give."""

    def __init__(self, host_dir: Path, bounds: plan.Limits) -> None:
        self._host_dir = host_dir
        self._bounds = bounds
        self._problem: str | None = None

    def settle(self) -> None:
        """Make them, unless they are there. A problem is logged once. Blocks."""
        problem = settle(self._host_dir, self._bounds)
        if problem is not None and problem != self._problem:
            _log.warning("%s", problem)
        self._problem = problem

    async def run(self) -> None:
        """Make them again, for ever, whoever removes them."""
        while True:
            await asyncio.sleep(SETTLE_EVERY_S)
            await aiokit.call(self.settle)

    def notices(self) -> list[str]:
        """The limits that the node does not give."""
        return [] if self._problem is None else [self._problem]


def settle(host_dir: Path, bounds: plan.Limits) -> str | None:
    """Make the cgroups and name them to the handler; what the node does not give, if anything.

    Idempotent; new limits hold for handlers that run, too. Blocks.
    """
    made: dict[str, plan.Cgroup] = {}
    problems: list[str] = []
    try:
        made, problems = host_namespaces.call(_make, plan.name(str(host_dir)), bounds)
        path = host_dir / host_dirs.HANDLER_CGROUPS
        data = handler_cgroups.render(sorted({cgroup.directory for cgroup in made.values()}))
        if not path.exists() or path.read_bytes() != data:
            durable.write_whole(path, data)
    except (OSError, errors.CoredumpdError) as error:
        problems.append(str(error))
    missing = [controller for controller in plan.CONTROLLERS if controller not in made]
    if not missing and not problems:
        return None
    why = "; ".join(problems) or "no cgroup hierarchy has it"
    return f"all handlers together have no limit of {' and '.join(missing)}: {why}"


def _make(name: str, bounds: plan.Limits) -> tuple[dict[str, plan.Cgroup], list[str]]:
    """Those that could be made, and why others could not. Call it as the host sees its files."""
    mounts = Path("/proc/thread-self/mounts").read_text()
    places = [line.split(" ")[1] for line in mounts.splitlines() if " cgroup2 " in line]
    unified = {place: _text(f"{place}/cgroup.controllers") for place in places}
    planned = plan.cgroups(name, mounts, unified, bounds)
    problems = []
    for cgroup in list(planned.values()):
        try:
            make(cgroup)
        except OSError as error:
            problems.append(f"{error.filename or cgroup.directory}: {error.strerror}")
            del planned[cgroup.controller]
    return planned, problems


def make(cgroup: plan.Cgroup) -> None:
    """Make one and set its limits. Raises OSError that names the file."""
    if cgroup.unified is not None:
        control = f"{cgroup.unified}/cgroup.subtree_control"
        if cgroup.controller not in _text(control).split():
            _write(control, f"+{cgroup.controller}")
    os.makedirs(cgroup.directory, exist_ok=True)
    for file, value in cgroup.values.items():
        _write(f"{cgroup.directory}/{file}", value)


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def remove(host_dir: Path) -> None:
    """Remove the cgroups as soon as no handler is in them. Raises nothing.

    After REMOVE_S they are left, as empty directories of no use.
    """
    path = host_dir / host_dirs.HANDLER_CGROUPS
    try:
        procs = handler_cgroups.parse(path.read_bytes())
        path.unlink()
        for one in procs:
            host_namespaces.call(_remove, one.removesuffix(handler_cgroups.PROCS))
    except FileNotFoundError:
        return  # none were made
    except (OSError, errors.CoredumpdError) as error:
        _log.warning("the handlers' cgroups stay: %s", error)


def _remove(directory: str) -> None:
    until = time.monotonic() + REMOVE_S
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() >= until:
                raise
            time.sleep(_RETRY_S)
        else:
            return
