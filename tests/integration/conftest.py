"""What integration tests share: each runs on the source tree and on the frozen executable."""

from __future__ import annotations

import pytest
from support import installed


@pytest.fixture(params=["source", "frozen"])
def kind(request: pytest.FixtureRequest) -> str:
    """`source` or `frozen`; frozen is skipped, by name, until it is built."""
    if request.param == "frozen" and not installed.FROZEN.exists():
        pytest.skip("dist/coredumpd is missing: make dist")
    return str(request.param)
