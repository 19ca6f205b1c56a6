"""One param per engine; those that need a server of their own skip loudly where it cannot run."""

from __future__ import annotations

import pytest

from coredumpd import objects


@pytest.fixture(params=["sqlite"])
def open_engine(request, tmp_path):
    """Opens the same engine again and again; every one is closed in the end."""
    opened = []

    def open_() -> objects.Engine:
        engine = objects.open(f"sqlite:///{tmp_path}/objects.db")
        opened.append(engine)
        return engine

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_engine):
    return open_engine()
