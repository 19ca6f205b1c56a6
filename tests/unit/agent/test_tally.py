from __future__ import annotations

import dataclasses
import subprocess
import sys

import prometheus_client

from coredumpd.agent import metrics, tally
from coredumpd.formats import guard_status


def test_each_counter_of_the_guard_is_a_metric_of_the_shipper() -> None:
    counters = metrics.Metrics()
    for name in tally.COUNTERS:
        assert isinstance(getattr(counters, name), prometheus_client.Counter), name
    assert tally.COUNTERS | {"pattern_ours", "losses", "self_test"} == {
        one.name for one in dataclasses.fields(tally.Tally)
    }


def test_the_latest_loss_of_each_container_is_kept_and_of_too_many_the_oldest_is_forgotten() -> (
    None
):
    losses = tally.Losses(lambda: 7.9)
    for number in range(guard_status.LOSSES_MAX + 1):
        losses.add(f"{number:064x}", "policy", "x" * 1000)
    losses.add(f"{1:064x}", "failed")
    kept = losses.latest()
    assert len(kept) == guard_status.LOSSES_MAX
    assert kept[-1] == guard_status.Loss(f"{1:064x}", "failed", "", 7)
    assert f"{0:064x}" not in {loss.container for loss in kept}
    assert guard_status.Status("0" * 16, losses=kept).encode()
    assert {len(loss.problem) for loss in kept} == {0, guard_status.PROBLEM_CHARS_MAX}


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
