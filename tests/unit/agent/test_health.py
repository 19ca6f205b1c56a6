from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

from coredumpd.agent import health


def answer(path: str, problems: list[str]) -> tuple[int, str]:
    def get(port: int) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def ask() -> tuple[int, str]:
        server, port = health.serve(0, lambda: b"metric 1\n", lambda: problems)
        try:
            return await asyncio.to_thread(get, port)
        finally:
            server.stop()

    return asyncio.run(ask())


def test_an_agent_without_problems_is_healthy() -> None:
    assert answer("/healthz", []) == (200, "ok\n")


def test_an_agent_with_problems_names_each_of_them() -> None:
    assert answer("/healthz", ["one", "another"]) == (503, "one\nanother\n")


def test_metrics_are_measured_when_they_are_asked_for() -> None:
    assert answer("/metrics", []) == (200, "metric 1\n")
