from __future__ import annotations

from support.storage.directories import root, store

__all__ = ["root", "store"]
