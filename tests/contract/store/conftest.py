"""One param per engine; the servers and mounts of tests/integration/storage run the same tests."""

from __future__ import annotations

import pytest
from obstore import store as obstores

from coredumpd.store import engines as stores
from coredumpd.store.bucket import engine


@pytest.fixture(params=["directory", "bucket"])
def store(request, tmp_path):
    if request.param == "bucket":
        objects = obstores.MemoryStore()
        return engine.BucketStore("memory://", objects, objects)
    root = tmp_path / "store"
    root.mkdir()
    return stores.open_store(root.as_uri())
