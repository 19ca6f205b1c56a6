"""`coredumpd server`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import os

from coredumpd import commandline, errors, log

_PORT_DEFAULT = 8443


def parser() -> argparse.ArgumentParser:
    """The role's arguments."""
    made = commandline.Parser(
        prog="coredumpd server",
        description="Serve coredump.fujitsu.com/v1alpha1, the aggregated API, over TLS.",
        epilog="Settings: docs/settings.md, section server. A download through kube-apiserver is "
        "cut after 60 s on .../dump (continue with offset=), never on .../proxy.",
    )
    made.add_argument("--config", metavar="FILE", help="the configuration file, in a cluster")
    made.add_argument(
        "--kubeconfig", metavar="FILE", help="how to reach Kubernetes, when not run in a pod"
    )
    alone = made.add_argument_group("without Kubernetes")
    alone.add_argument(
        "--standalone",
        action="store_true",
        help="loopback only, with a generated token and a self-signed certificate",
    )
    alone.add_argument("--data-dir", metavar="DIR", help="where token, certificate, objects go")
    alone.add_argument(
        "--port", type=int, metavar="N", help=f"default {_PORT_DEFAULT}; 0 takes a free one"
    )
    alone.add_argument("--store", metavar="URL", help="default: the directory store in --data-dir")
    return made


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    chosen = parser().parse_args(words)
    if chosen.standalone:
        _only(chosen, ("config", "kubeconfig"), "stands against --standalone")
        if chosen.data_dir is None:
            raise errors.UsageError("--standalone needs --data-dir DIR")
        from coredumpd.server import standalone

        port = _PORT_DEFAULT if chosen.port is None else chosen.port
        if not 0 <= port <= 65535:
            raise errors.UsageError(f"--port is {port}; must be from 0 to 65535")
        log.configure("server", "text")
        asyncio.run(standalone.serve(os.path.abspath(chosen.data_dir), port, chosen.store))
        return 0
    _only(chosen, ("data_dir", "port", "store"), "is for --standalone; use the configuration file")
    if chosen.config is None:
        raise errors.UsageError("--config FILE is needed, or --standalone")
    from coredumpd.server import in_cluster
    from coredumpd.settings import file

    settings = file.load(chosen.config)
    log.configure("server", "json")
    asyncio.run(in_cluster.serve(settings, chosen.kubeconfig))
    return 0


def _only(chosen: argparse.Namespace, refused: tuple[str, ...], why: str) -> None:
    for name in refused:
        if getattr(chosen, name) is not None:
            raise errors.UsageError(f"--{name.replace('_', '-')} {why}")
