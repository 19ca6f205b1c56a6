"""Keeps the Trust current: re-reads the ConfigMap, so that rotated CAs are believed."""

from __future__ import annotations

import logging

from coredumpd import errors
from coredumpd.apiserver.auth import interface, trust

REFRESH_S = 10.0
_TIMEOUT_S = 5.0
_PATH = f"/api/v1/namespaces/{trust.NAMESPACE}/configmaps/{trust.NAME}"
_log = logging.getLogger(__name__)


class TrustSource:
    """`current` is None until the first successful reading; a failed one changes nothing."""

    def __init__(self, kube: interface.Kube) -> None:
        self._kube = kube
        self.current: trust.Trust | None = None

    async def refresh(self) -> None:
        """Read the ConfigMap once. Failures are logged and leave what was believed in force."""
        try:
            _, document = await self._kube.request("GET", _PATH, timeout_s=_TIMEOUT_S)
            found = trust.parse(document.get("data") or {})
        except errors.CoredumpdError as error:
            _log.warning("whom to trust could not be read, the last reading stands: %s", error)
            return
        if found != self.current:
            _log.info(
                "trust read: %d client CAs, %d proxy CAs, proxy names %s",
                len(found.client_cas),
                len(found.proxy_cas),
                ", ".join(found.allowed_names) or "any",
            )
            self.current = found

    async def check(self) -> None:
        """Raises Unavailable until the ConfigMap has been read once."""
        if self.current is None:
            raise errors.Unavailable(f"ConfigMap {trust.NAMESPACE}/{trust.NAME} not read yet")
