"""One param per engine; those that need a server of their own skip loudly where it cannot run."""

from __future__ import annotations

import pytest

from coredumpd import store as stores


@pytest.fixture(params=["directory"])
def store(request, tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    return stores.open(root.as_uri())
