"""The name of our API, which the server serves and the commands of people ask. Pure.

Tested in: tests/integration/server/test_discovery.py
"""

from __future__ import annotations

GROUP, VERSION = "coredump.fujitsu.com", "v1alpha1"
GROUP_VERSION = f"{GROUP}/{VERSION}"
PATH = f"/apis/{GROUP_VERSION}"
