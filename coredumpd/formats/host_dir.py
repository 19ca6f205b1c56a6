"""The files and directories below hostDir, which agent and handler share on each node.

All paths here are relative to hostDir; docs/formats.md shows the tree. Import it as `host_dirs`:
`host_dir` is everywhere the name of the directory itself.

The crash path imports this module before it reads the first byte: constants only, no imports.
"""

from __future__ import annotations

VERSIONS = "versions"  # VERSIONS/<digest>/LAUNCHER: each installed handler
LAUNCHER = "coredumpd"
CURRENT = "current"  # a link to VERSIONS/<digest>
CURRENT_LAUNCHER = f"{CURRENT}/{LAUNCHER}"  # what core_pattern names
POLICY = "policy.json"
LAST_POLICY = f"{POLICY}.last"  # the same bytes, written next
# Locks of captures, by which their handlers share the node; see handler/slots.py.
HANDLER_SLOTS = "handlers.slots"
CAPTURE_SLOTS = "captures.slots"
HANDLER_CGROUPS = "handler.cgroups"  # see formats/handler_cgroups.py
CAPTURE_SOCKET = "capture.sock"
SPOOL = "spool"
SELF_TEST_ENTRY = ".self-test"  # below SPOOL: no scan takes it for a dump
STATE = "state"  # the guard's own memory
ORIGINAL_SYSCTLS = f"{STATE}/original.json"
GUARD_LOCK = f"{STATE}/lock"
SELF_TEST = f"{STATE}/self-test"  # names the process that the guard crashes now: self_test.py
# Between the agent's two halves: the guard alone writes the first, the shipper alone the second.
GUARD = "guard"
GUARD_STATUS = "status.json"  # below GUARD
SHIPPER = "shipper"
SHIPPER_REPLY = "reply.json"  # below SHIPPER, as is the POLICY that the guard adopts
SHIPPER_LOCK = f"{SHIPPER}/lock"


def of_launcher(path: str) -> str | None:
    """The hostDir in which `path` is an installed launcher; None when it is no such path."""
    parts = path.rsplit("/", 3)
    return parts[0] or None if len(parts) == 4 and parts[1] == VERSIONS else None
