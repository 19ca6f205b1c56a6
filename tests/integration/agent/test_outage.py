"""A node whose store fails: it goes on capturing, says so, and then everything arrives.

Three containers crash all the while. docs/store.md has a row for each fault; the last test here
holds it to that. `make soak` runs the first test with an outage of an hour.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import agents, fakekube, mounts, outage, waiting

from coredumpd import store as stores

OUTAGE_S = float(os.environ.get("COREDUMPD_OUTAGE_S", "20"))
LONG = OUTAGE_S > 700  # then the defaults' own times are what is tested
STUCK_S = 600 if LONG else 3
EVERY_S = 1.5 if LONG else 0.4
RESIDENT_KIB_MAX = 96 * 1024


@pytest.fixture
def crashes(node: agents.Agent, tmp_path: Path) -> Iterator[outage.Crashes]:
    """Containers on `node`."""
    with contextlib.ExitStack() as stack:
        if not LONG:
            node.settings["stuckAfter"] = f"{STUCK_S}s"
        yield outage.Crashes(node, tmp_path, stack)


@pytest.fixture
def mount(node: agents.Agent, tmp_path: Path) -> Iterator[mounts.Mount]:
    """The node's store is a directory below this."""
    with mounts.mounted(tmp_path / "storage") as made:
        node.store = made.at / "store"
        node.store.mkdir()
        node.settings["store"] = node.store.as_uri()
        yield made


def measured(node: agents.Agent, name: str) -> float:
    """A metric of the agent's, over all its labels."""
    found = re.findall(
        rf"^coredumpd_agent_{name}(?:{{.*}})? (\S+)$", node.get("/metrics")[1], re.MULTILINE
    )
    return sum(map(float, found))


def told(kube: fakekube.FakeKube, reason: str) -> list[str]:
    """The messages of the Events of that reason."""
    return [event["message"] for event in kube.created("events") if event["reason"] == reason]


def resident(node: agents.Agent) -> str:
    return f"{node.resident_kib() // 1024} MiB"


@pytest.mark.timeout(600 + 2 * OUTAGE_S)
def test_a_store_that_is_away_and_comes_back(node, kube, mount, crashes):
    node.start("--kubeconfig", str(kube.kubeconfig()), "--no-core-pattern")
    for _ in range(3):
        crashes.crash()
    assert len(node.wait_stored(3)) == 3
    assert node.get("/healthz") == (200, "ok\n")
    mount.go()
    begun_s = time.monotonic()
    with crashes.going_on(EVERY_S):
        waiting.until("a failure", lambda: measured(node, "ship_failures_total"), 60)
        waiting.until("healthz to fail", lambda: node.get("/healthz")[0] == 503, STUCK_S + 60)
        assert "shipping is stuck: a dump has failed for" in node.get("/healthz")[1]
        assert measured(node, "ship_failing_seconds") > STUCK_S
        waiting.until("an Event", lambda: told(kube, "CoreDumpsStuck"), 60)
        for tenth in range(1, 11):
            passed_s = OUTAGE_S * tenth / 10
            waiting.until("time", lambda: time.monotonic() > begun_s + passed_s, OUTAGE_S)  # noqa: B023
            entries, tries = measured(node, "spool_entries"), measured(node, "ship_failures_total")
            print(f"{passed_s:.0f} s: {entries:.0f} wait, {tries:.0f} tries,", resident(node))
            assert crashes.spooled_bytes() <= outage.SPOOL_BYTES_MAX
            assert node.resident_kib() <= RESIDENT_KIB_MAX
        assert entries > outage.SPOOL_BYTES_MAX / outage.CORE_BYTES, "more than fit as a whole"
        mount.come()
        waiting.until("something to arrive", lambda: len(node.stored()) > 3, 120)
    story = crashes.arrived(stores.open(node.settings["store"]), 120 + OUTAGE_S / 4)
    print(f"all is there: {len(story.whole)} whole, {len(story.cut)} cut,", resident(node))
    assert story.cut, "the spool's limit was reached"
    assert len(story.whole) >= 5 + 3
    waiting.until("healthz", lambda: node.get("/healthz") == (200, "ok\n"), 30)
    assert measured(node, "shipped_total") == crashes.count
    assert measured(node, "spool_entries") == measured(node, "ship_failing_seconds") == 0
    waiting.until("the end to be told", lambda: told(kube, "CoreDumpsResumed"), 30)
    assert len(told(kube, "CoreDumpsStuck")) == 1
