from __future__ import annotations

import asyncio
import gc
import urllib.error
import urllib.request

import pytest

from coredumpd import errors
from coredumpd.agent import health


def answer(path: str, problems: list[str], probe: bool = False) -> tuple[int, str]:
    def get(port: int) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def ask() -> tuple[int, str]:
        faces = health.serve(0, 0, lambda: b"metric 1\n", lambda: problems)
        try:
            return await asyncio.to_thread(get, faces.probe_port if probe else faces.port)
        finally:
            faces.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("probe", [False, True])
def test_an_agent_without_problems_is_healthy(probe: bool) -> None:
    assert answer("/healthz", [], probe) == (200, "ok\n")


@pytest.mark.parametrize("probe", [False, True])
def test_an_agent_with_problems_names_each_of_them(probe: bool) -> None:
    assert answer("/healthz", ["one", "another"], probe) == (503, "one\nanother\n")


def test_problems_are_no_reason_to_restart() -> None:
    assert answer("/livez", ["one"], probe=True) == (200, "ok\n")


def test_the_probes_port_has_no_metrics() -> None:
    assert answer("/metrics", [], probe=True)[0] == 404


@pytest.mark.parametrize("setting", ["agent.port", "agent.probePort"])
# Tornado does not close the socket that it could not bind.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_port_that_is_taken_is_named(setting: str) -> None:
    async def serve() -> None:
        first = health.serve(0, 0, bytes, list)
        ports = (first.port, 0) if setting == "agent.port" else (0, first.port)
        try:
            health.serve(*ports, bytes, list)
        finally:
            first.close()

    with pytest.raises(errors.SettingsError, match=setting):
        asyncio.run(serve())
    gc.collect()


def test_metrics_are_measured_when_they_are_asked_for() -> None:
    assert answer("/metrics", []) == (200, "metric 1\n")
