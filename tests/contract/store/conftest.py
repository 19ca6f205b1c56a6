"""One param per engine; the servers and mounts of tests/integration/storage run the same tests."""

from __future__ import annotations

import pytest
from obstore import store as obstores

from coredumpd import store as stores
from coredumpd.store import bucket


@pytest.fixture(params=["directory", "bucket"])
def store(request, tmp_path):
    if request.param == "bucket":
        objects = obstores.MemoryStore()
        return bucket.BucketStore("memory://", objects, objects)
    root = tmp_path / "store"
    root.mkdir()
    return stores.open(root.as_uri())
