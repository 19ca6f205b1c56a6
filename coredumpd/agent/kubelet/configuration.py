"""The configuration of this node's kubelet: what the running one was told, else its usual file.

Read in PID 1's mount namespace, where the guard sees the host's processes and files. Any pod may
have a process that calls itself kubelet: one counts only if it is root's, in the namespaces of
PID 1, and a file only if nobody but root can write it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coredumpd import durable, errors
from coredumpd.agent.kubelet import eviction
from coredumpd.settings import file

USUAL = "/var/lib/kubelet/config.yaml"  # kubeadm's, and what most distributions took over
DROP_INS_MAX = 100
_CMDLINE_BYTES_MAX = 64 * 1024
_EVICTION = ("evictionHard", "evictionSoft")


@dataclasses.dataclass(frozen=True)
class Flags:
    """Those of a kubelet's flags that matter here; None: not given."""

    config: str | None = None
    config_dir: str | None = None
    eviction_hard: str | None = None
    eviction_soft: str | None = None


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Demands of a kubelet on a disk, where they were read, and what could not be read there."""

    thresholds: tuple[eviction.Threshold, ...]
    source: str
    problems: tuple[str, ...] = ()


def read(setting: str | None, proc: Path = Path("/proc")) -> Thresholds:
    """The kubelet's thresholds; its defaults where nothing else can be read. Never raises.

    `setting`: the file to take, instead of that of the running kubelet or the usual one.
    """
    flags = Flags() if setting else running(proc) or Flags()
    path = setting or flags.config or USUAL
    problems: list[str] = []
    document: dict[str, Any] = {}
    try:
        document = _document(Path(path))
    except FileNotFoundError:
        if setting or flags.config:
            problems.append(f"{path} is not there")
        elif flags == Flags():
            return Thresholds(tuple(eviction.defaults()), "no kubelet's configuration is there")
    except (OSError, errors.CoredumpdError) as error:
        problems.append(f"{path}: {error}")
    for drop_in in _drop_ins(flags.config_dir, problems):
        _merge(document, drop_in)
    thresholds, wrong = eviction.of_configuration(
        document, flags.eviction_hard, flags.eviction_soft
    )
    return Thresholds(tuple(thresholds), path, (*problems, *(f"{path}: {one}" for one in wrong)))


def running(proc: Path) -> Flags | None:
    """The flags of the host's own kubelet; None where none is seen."""
    for directory in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if (directory / "comm").read_text() == "kubelet\n" and _is_the_hosts(directory, proc):
                with (directory / "cmdline").open("rb") as cmdline:
                    words = cmdline.read(_CMDLINE_BYTES_MAX).decode(errors="replace").split("\0")
                return parse_flags(words[1:])
    return None


def parse_flags(words: list[str]) -> Flags:
    """The flags among the words after the program's name; pflag takes "--flag value", too."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for field in dataclasses.fields(Flags):
        parser.add_argument("--" + field.name.replace("_", "-"))
    try:
        return Flags(**vars(parser.parse_known_args(words)[0]))
    except argparse.ArgumentError:
        return Flags()  # a flag without a value: such a kubelet does not start


def _is_the_hosts(directory: Path, proc: Path) -> bool:
    return directory.stat().st_uid == 0 and all(
        (directory / "ns" / kind).readlink() == (proc / "1/ns" / kind).readlink()
        for kind in ("mnt", "pid", "user")
    )


def _document(path: Path) -> dict[str, Any]:
    """The mapping in the YAML (or JSON) file `path`. Raises OSError, SettingsError, Forbidden."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as source:
        if not durable.is_ours(descriptor):
            raise errors.Forbidden("must belong to root and be writable by nobody else")
        return file.foreign(source.read(file.CONFIG_BYTES_MAX + 1))


def _drop_ins(directory: str | None, problems: list[str]) -> list[dict[str, Any]]:
    """The documents of --config-dir, in the order in which the kubelet merges them."""
    if directory is None:
        return []
    documents = []
    try:
        for path in sorted(Path(directory).rglob("*.conf"))[:DROP_INS_MAX]:
            documents.append(_document(path))
    except (OSError, errors.CoredumpdError) as error:
        problems.append(f"{directory}: {error}")
    return documents


def _merge(document: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay one more document over the others, as far as eviction goes: maps merge by their keys."""
    for name, value in over.items():
        own = document.get(name)
        merges = name in _EVICTION and isinstance(value, Mapping) and isinstance(own, Mapping)
        document[name] = {**own, **value} if merges else value  # type: ignore[dict-item]
