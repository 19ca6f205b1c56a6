"""How many connections the process's open files allow for: RLIMIT_NOFILE."""

from __future__ import annotations

import logging
import resource

_PER_CONNECTION = 2  # its socket, and the core that it downloads
_OURS = 256  # database, log, keys, sockets to Kubernetes, and newcomers before they are closed
_log = logging.getLogger(__name__)


def room_for(connections: int) -> int:
    """`connections`, or fewer where the hard limit is low. Raises the soft limit as needed.

    Without this, accepting would fail for want of descriptors, for everybody and in a busy loop.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OURS + _PER_CONNECTION * connections
    if _is_less(soft, wanted):
        soft = hard if _is_less(hard, wanted) else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if not _is_less(soft, wanted):
        return connections
    found = max(1, (soft - _OURS) // _PER_CONNECTION)
    _log.warning("%d connections instead of %d: RLIMIT_NOFILE is %d", found, connections, soft)
    return found


def _is_less(limit: int, number: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < number
