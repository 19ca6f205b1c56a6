"""The agent's metrics. Label values come from our own vocabulary, so the sets are bounded.

Tested in: tests/integration/agent/test_ship.py
"""

from __future__ import annotations

import prometheus_client

from coredumpd import __version__
from coredumpd.agent import tally


class Metrics:
    """One registry, made once per daemon."""

    def __init__(self) -> None:
        self.registry = registry = prometheus_client.CollectorRegistry()
        prefix = "coredumpd_agent_"

        def counter(name: str, doc: str, labels: tuple[str, ...] = ()) -> prometheus_client.Counter:
            return prometheus_client.Counter(prefix + name, doc, labels, registry=registry)

        def gauge(name: str, doc: str) -> prometheus_client.Gauge:
            return prometheus_client.Gauge(prefix + name, doc, registry=registry)

        self.pattern_ours = gauge("core_pattern_ours", "1 when core_pattern runs our handler")
        self.self_test_passed = gauge(
            "self_test_passed",
            "1 when the kernel reached the handler in the guard's last self-test",
        )
        self.self_tests = counter("self_tests", "self-tests of the guard", ("result",))
        self.corrections = counter("core_pattern_corrections", "core settings put back")
        self.listener_failures = counter(
            "listener_failures", "listeners that ended or hung while capturing by socket"
        )
        self.skipped = counter("skipped", "crashes that left no dump", ("reason",))
        self.without_core = counter(
            "without_core", "containers that ended by a signal without a core", ("reason",)
        )
        self.shipped = counter("shipped", "dumps committed to the store", ("attribution",))
        self.shipped_bytes = counter("shipped_bytes", "bytes of core.gz committed")
        self.failures = counter("ship_failures", "tries to ship that failed", ("error",))
        self.sealed = counter("sealed", "dumps encrypted before they left the node")
        self.seal_failures = counter(
            "seal_failures", "tries to encrypt a dump that failed; it stays on the node"
        )
        self.set_aside = counter("set_aside", "spool entries that can never be shipped")
        self.denied = gauge(
            "policy_denied", "pods and namespaces whose rules have no room: not captured"
        )
        self.withheld = gauge("withheld", "dumps that stay on the node: nothing proves whose")
        self.folded = counter("folded", "crashes of a loop that are only counted")
        self.spool_entries = gauge("spool_entries", "dumps waiting in the spool")
        self.stuck_s = gauge("ship_failing_seconds", "seconds for which a dump has failed to ship")
        self.silent_s = gauge(
            "ship_silent_seconds",
            "seconds for which a running commit has taken no byte of its dump",
        )
        self.events_dropped = counter("events_dropped", "Kubernetes Events not sent")
        prometheus_client.Info(prefix + "build", "this program", registry=registry).info(
            {"version": __version__}
        )

    def add(self, name: str, label: str, count: int) -> None:
        """Add what the guard counted; a name that is none of its `tally.Tally` is ignored."""
        if name not in tally.COUNTERS or count <= 0:
            return
        counter: prometheus_client.Counter = getattr(self, name)
        (counter.labels(label) if label else counter).inc(count)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return prometheus_client.generate_latest(self.registry)
