"""`coredumpd server`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import os

from coredumpd import commandline, errors, log

_PORT_DEFAULT = 8443


def parser() -> argparse.ArgumentParser:
    """The role's arguments."""
    command = commandline.Parser(
        prog="coredumpd server",
        description="Serve coredump.fujitsu.com/v1alpha1, the aggregated API, over TLS.",
        epilog="Settings: docs/settings.md, section server. A download through kube-apiserver is "
        "cut after 60 s on .../dump (continue with offset=), never on .../proxy.",
    )
    command.add_argument("--config", metavar="FILE", help="the configuration file, in a cluster")
    command.add_argument(
        "--kubeconfig", metavar="FILE", help="how to reach Kubernetes, when not run in a pod"
    )
    command.add_log(default=None)
    alone = command.add_argument_group("without Kubernetes")
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
    return command


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    arguments = parser().parse_args(words)
    if arguments.standalone:
        _refuse(arguments, ("config", "kubeconfig"), "cannot be given with --standalone")
        if arguments.data_dir is None:
            raise errors.UsageError("--standalone needs --data-dir DIR")
        from coredumpd.server import standalone

        port = _PORT_DEFAULT if arguments.port is None else arguments.port
        if not 0 <= port <= 65535:
            raise errors.UsageError(f"--port is {port}; must be from 0 to 65535")
        log.configure("server", arguments.log or "text")
        asyncio.run(standalone.serve(os.path.abspath(arguments.data_dir), port, arguments.store))
        return 0
    _refuse(
        arguments, ("data_dir", "port", "store"), "is for --standalone; use the configuration file"
    )
    if arguments.config is None:
        raise errors.UsageError("--config FILE is needed, or --standalone")
    from coredumpd.server import in_cluster
    from coredumpd.settings import file

    settings = file.load(arguments.config)
    log.configure("server", arguments.log or "json")
    asyncio.run(in_cluster.serve(settings, arguments.kubeconfig))
    return 0


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], rule: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise errors.UsageError(f"--{name.replace('_', '-')} {rule}")
