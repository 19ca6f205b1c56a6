"""What one cluster on this machine may call its own: a number, and the names that follow from it.

Several clusters can run side by side: each takes a slot under a lock and leaves a note of its
directory there. A note whose owner is gone marks a crashed run; the next run cleans it up.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

NOTES = Path("/run/coredumpd-e2e")
_SLOTS_MAX = 8


class Slot:
    """Names and addresses of cluster number `number`; nothing else on the machine is touched."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.bridge = f"cdtest{number}"
        self.gateway = f"10.{88 + number}.0.1"  # the bridge; also the node's own address
        self.pods = f"10.{88 + number}.0.0/16"
        self.services = f"10.{108 + number}.0.0/24"
        self.api = f"10.{108 + number}.0.1"  # Service kubernetes.default
        self.cgroup = f"coredumpd-e2e-{number}"
        self.note = NOTES / f"{number}.json"

    def write(self, directory: Path, owner: psutil.Process | None) -> None:
        """Claim. `owner` None: the cluster outlives the process that started it."""
        born = owner and [owner.pid, owner.create_time()]
        self.note.write_text(json.dumps({"directory": str(directory), "owner": born}))

    def directory(self) -> Path | None:
        """Where the cluster in this slot lives or lived; None when the slot is empty."""
        with contextlib.suppress(FileNotFoundError):
            return Path(json.loads(self.note.read_text())["directory"])
        return None

    def abandoned(self) -> bool:
        """Is the note's owner gone? A cluster left running on purpose has none and is not."""
        owner = json.loads(self.note.read_text())["owner"]
        if owner is None:
            return False
        try:
            return psutil.Process(owner[0]).create_time() != owner[1]
        except psutil.NoSuchProcess:
            return True


@contextlib.contextmanager
def locked() -> Iterator[list[Slot]]:
    """Every slot of the machine, while nobody else looks at or takes one."""
    NOTES.mkdir(mode=0o700, exist_ok=True)
    with (NOTES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield [Slot(number) for number in range(_SLOTS_MAX)]


def of(directory: Path) -> Slot | None:
    """The slot whose cluster lives in `directory`."""
    with locked() as slots:
        for slot in slots:
            if slot.directory() == directory:
                return slot
    return None


def me() -> psutil.Process:
    return psutil.Process(os.getpid())
