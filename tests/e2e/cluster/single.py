"""The cluster as one thing: up, down, and a context manager that always ends with down."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e.cluster import leftovers
from tests.e2e.cluster import slot as slots
from tests.e2e.cluster.assets import Assets
from tests.e2e.cluster.control import ControlPlane
from tests.e2e.cluster.daemons import Daemons
from tests.e2e.cluster.node import Node
from tests.e2e.support import images
from tests.support.waiting import Failed

Say = Callable[[str], None]


class Cluster:
    """A running cluster; `control` makes users, `node` imports images."""

    def __init__(self, directory: Path, slot: slots.Slot, assets: Assets, say: Say) -> None:
        self.directory = directory
        self.slot = slot
        self.assets = assets
        self._say = say
        self._daemons = Daemons(directory, self.assets.path)
        self.node = Node(directory, slot, self.assets, self._daemons)

    def start(self, abac_policy: str = "", extra: tuple[str, ...] = ()) -> None:
        """Bring everything up. Raises Failed, naming the part and showing the end of its log.

        `abac_policy`: lines of JSON that grant rights besides RBAC; `extra`: kube-apiserver flags.
        """
        began = time.monotonic()

        def say(text: str) -> None:
            self._say(f"{time.monotonic() - began:5.1f} s  {text}")

        release = ".".join(map(str, self.assets.release))
        say(f"Kubernetes {release} in {self.directory}, bridge {self.slot.bridge}")
        self.node.make_network()
        self.control = ControlPlane(self.directory, self.slot, self.assets, self._daemons)
        self.control.start(abac_policy, extra)
        say(f"control plane ready at {self.control.server}")
        self.node.start_containerd()
        self.node.import_image(images.pause(self.directory))
        self.node.start_kubelet(self.control)
        self.node.wait_ready(self.kubectl_argv())
        say("node ready")

    def kubectl_argv(self, kubeconfig: Path | None = None) -> list[str]:
        """The words that start a kubectl command, as the administrator unless told otherwise."""
        return [str(self.assets["kubectl"]), f"--kubeconfig={kubeconfig or self.control.admin}"]

    def log(self, daemon: str) -> str:
        """A daemon's whole log."""
        return (self.directory / "logs" / f"{daemon}.log").read_text(errors="replace")

    def check(self, daemon: str) -> None:
        """Raises Failed with the end of its log when a daemon is dead."""
        self._daemons.check(daemon)

    def stop(self, keep_directory: bool = False) -> None:
        leftovers.remove(self.slot, self.directory, self._daemons, keep_directory)


@contextlib.contextmanager
def running(
    say: Say = print,
    directory: Path | None = None,
    abac_policy: str = "",
    extra: tuple[str, ...] = (),
) -> Iterator[Cluster]:
    """A cluster for the length of a `with`; its directory is temporary unless given."""
    assets = Assets()
    place = directory or Path(tempfile.mkdtemp(prefix="cd-e2e-", dir="/var/lib"))
    cluster = _claim(place, assets, say, detached=False)
    try:
        cluster.start(abac_policy, extra)
        yield cluster
    finally:
        cluster.stop()


def up(directory: Path, say: Say = print) -> Cluster:
    """Start a cluster that outlives this process; `down` ends it."""
    assets = Assets()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise Failed(f"{directory} is not empty; `down` what lives there, or name another")
    cluster = _claim(directory.resolve(), assets, say, detached=True)
    try:
        cluster.start()
    except BaseException:
        cluster.stop(keep_directory=True)
        say(f"the logs are kept in {directory}/logs")
        raise
    return cluster


def down(directory: Path, say: Say = print) -> None:
    """End the cluster in `directory`, running or not."""
    directory = directory.resolve()
    slot = slots.of(directory)
    if slot is None:
        raise Failed(f"no cluster lives in {directory}")
    leftovers.remove(slot, directory, Daemons(directory, ""))
    say(f"{directory} is gone")


def _claim(directory: Path, assets: Assets, say: Say, detached: bool) -> Cluster:
    """Take the first free slot; clean up after crashed runs on the way."""
    with slots.locked() as candidates:
        for slot in candidates:
            former = slot.directory()
            if former is not None and slot.abandoned():
                say(f"cleaning up after a run that crashed: {former}")
                leftovers.remove(slot, former, Daemons(former, ""))
                former = None
            if former is None:
                cluster = Cluster(directory, slot, assets, say)
                slot.write(directory, None if detached else slots.me())
                return cluster
    raise Failed(f"every slot of this machine is taken; see {slots.NOTES}")


def kubectl_json(argv: list[str]) -> object:
    """What a kubectl command prints, as JSON."""
    done = subprocess.run([*argv, "-o", "json"], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)
