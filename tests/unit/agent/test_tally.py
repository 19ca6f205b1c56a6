from __future__ import annotations

import dataclasses
import subprocess
import sys

import prometheus_client

from coredumpd.agent import metrics, tally


def test_each_counter_of_the_guard_is_a_metric_of_the_shipper() -> None:
    counters = metrics.Metrics()
    for name in tally.COUNTERS:
        assert isinstance(getattr(counters, name), prometheus_client.Counter), name
    assert tally.COUNTERS | {"pattern_ours"} == {
        one.name for one in dataclasses.fields(tally.Tally)
    }


def test_the_guard_brings_neither_tls_nor_http_nor_a_rust_client_into_the_privileged_process() -> (
    None
):
    script = "import sys; from coredumpd.agent import main, guard, jobs; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert not modules & {
        *("http.client", "http.server", "urllib.request", "urllib3", "tornado", "aiohttp"),
        *("kubernetes", "obstore", "pyrage", "prometheus_client", "cryptography", "isal"),
        *("coredumpd.kube", "coredumpd.store", "coredumpd.sealing", "coredumpd.agent.ship"),
    }
