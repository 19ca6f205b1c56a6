from __future__ import annotations

import resource

import pytest

from coredumpd.apiserver.http import descriptors


@pytest.fixture
def limits(monkeypatch):
    """[soft, hard], and what they are set to."""
    now = [1024, 1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: now.__setitem__(slice(2), wanted))
    return now


@pytest.mark.parametrize(
    ("soft", "hard", "room", "soft_after"),
    [
        (1024, 1024, 384, 1024),
        (1024, 4096, 1920, 4096),
        (1024, 1_048_576, 4096, 8448),
        (1024, resource.RLIM_INFINITY, 4096, 8448),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 4096, resource.RLIM_INFINITY),
        (100_000, 100_000, 4096, 100_000),
        (64, 64, 1, 64),
    ],
)
def test_connections_fit_the_open_files(limits, soft, hard, room, soft_after):
    limits[:] = soft, hard
    assert descriptors.room_for(4096) == room
    assert limits == [soft_after, hard]
