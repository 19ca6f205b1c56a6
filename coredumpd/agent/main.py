"""`coredumpd agent run | guard | ship | install | uninstall`.

The guard's arm imports nothing of the shipper: it needs neither TLS nor HTTP.

Tested in: tests/integration/agent/test_core_pattern.py
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import socket
from pathlib import Path

from coredumpd import commandline, errors, log
from coredumpd.agent.kubelet import room
from coredumpd.agent.node import cgroup_root, install, sysctls
from coredumpd.agent.node.handlers_cgroup import make, plan
from coredumpd.agent.tenants import policy_file
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import names
from coredumpd.settings import file, sections

_log = logging.getLogger(__name__)
_EPILOG = "`coredumpd agent --config FILE` is the same as `coredumpd agent run --config FILE`."


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    arguments = _parser().parse_args(words)
    settings = file.load(arguments.config)
    if arguments.host_dir is not None:
        agent = dataclasses.replace(settings.agent, hostDir=arguments.host_dir)
        settings = dataclasses.replace(settings, agent=agent)
    host_dir = Path(settings.agent.hostDir)
    match arguments.command:
        case "run":
            return _run(arguments, settings)
        case "guard":
            return _guard(arguments, settings)
        case "ship":
            return _ship(arguments, settings, host_dir)
        case "install":
            return _install(arguments, settings, host_dir)
        case _:
            return _uninstall(settings.agent, host_dir)


def _run(arguments: argparse.Namespace, settings: sections.Settings) -> int:
    from coredumpd.agent import daemon, guard, ship

    log.configure("agent", arguments.log)
    guard_options = guard.Options(
        arguments.node_name, arguments.restore_on_exit, not arguments.no_core_pattern
    )
    ship_options = ship.Options(
        arguments.node_name, arguments.kubeconfig, not arguments.no_kubernetes
    )
    asyncio.run(daemon.run(settings, guard_options, ship_options))
    return 0


def _guard(arguments: argparse.Namespace, settings: sections.Settings) -> int:
    from coredumpd.agent import guard, jobs
    from coredumpd.agent.node import host_namespaces

    log.configure("agent", arguments.log)
    host_namespaces.leave_network()
    options = guard.Options(arguments.node_name, arguments.restore_on_exit)

    async def run() -> None:
        await guard.run(settings, options, jobs.stop_event())

    asyncio.run(run())
    return 0


def _ship(arguments: argparse.Namespace, settings: sections.Settings, host_dir: Path) -> int:
    from coredumpd.agent import confinement, jobs, ship

    log.configure("agent", arguments.log)
    ship.prepare(host_dir)
    missing = confinement.enter(ship.writable(settings))
    if missing:
        _log.warning("shipping without %s: the kernel refuses", ", ".join(missing))
    options = ship.Options(arguments.node_name, arguments.kubeconfig, not arguments.no_kubernetes)

    async def run() -> None:
        await ship.run(settings, options, jobs.stop_event())

    asyncio.run(run())
    return 0


def _install(arguments: argparse.Namespace, settings: sections.Settings, host_dir: Path) -> int:
    install.prepare(host_dir)
    policy = cgroup_root.settle(settings.policy)
    policy = room.Monitor(settings).reserve.settle(policy)
    policy_file.write(host_dir, policy, arguments.node_name)
    line = install.install(host_dir)
    make.Keeper(host_dir, plan.limits(settings)).settle()
    if not arguments.no_core_pattern:
        core_sysctls = sysctls.from_settings(host_dir, settings.agent, line)
        core_sysctls.save_original()
        core_sysctls.apply()
    install.remove_old(host_dir)
    print(line)
    return 0


def _uninstall(agent: sections.AgentSettings, host_dir: Path) -> int:
    if host_dir.exists() and host_dir.stat().st_uid != os.geteuid():
        owner = host_dir.stat().st_uid
        raise errors.Forbidden(f"hostDir {host_dir} belongs to uid {owner}: run this as that user")
    print(sysctls.from_settings(host_dir, agent, "").restore())
    if not host_dir.exists():
        print(f"nothing is installed in {host_dir}")
        return 0
    remaining = install.remove_all(host_dir)
    print(f"removed the handler from {host_dir}")
    if remaining:
        spool = host_dir / host_dirs.SPOOL
        print(f"{len(remaining)} unshipped dumps stay in {spool}; an agent would ship them")
    return 0


def _parser() -> commandline.Parser:
    parser = commandline.Parser(
        prog="coredumpd agent",
        description="Install the handler on this node, own core_pattern, ship dumps to the store.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="guard and ship in one, until SIGTERM (the default)")
    guard = commands.add_parser(
        "guard", help="install the handler and own core_pattern, until SIGTERM; uses no network"
    )
    ship = commands.add_parser(
        "ship", help="ship what the handler captured, until SIGTERM; needs no privilege"
    )
    put = commands.add_parser("install", help="install the handler and set core_pattern, then exit")
    undo = commands.add_parser("uninstall", help="put core_pattern back, remove what was installed")
    for command in (run, guard, ship, put, undo):
        command.description = (command.prog.rpartition(" ")[2]).capitalize()
        command.add_argument(
            "--config", metavar="FILE", help="YAML configuration (docs/settings.md)"
        )
    for command in (put, undo):
        command.add_argument(
            "--host-dir", type=_directory, metavar="DIR", help="instead of agent.hostDir"
        )
    for command in (run, guard, ship):
        command.set_defaults(host_dir=None)
        command.add_log()
    put.add_argument(
        "--no-core-pattern",
        action="store_true",
        help="install the handler, but only print the core_pattern that would run it",
    )
    for command in (run, guard, ship, put):
        command.add_argument(
            "--node-name",
            type=_node,
            default=os.environ.get("NODE_NAME") or socket.gethostname().lower(),
            metavar="NAME",
            help="this node's name in Kubernetes (default: $NODE_NAME, else the host name)",
        )
    for command in (run, ship):
        command.add_argument(
            "--kubeconfig", metavar="FILE", help="default: the pod's service account"
        )
        command.add_argument(
            "--no-kubernetes", action="store_true", help="ask no API server for anything"
        )
    for command in (run, guard):
        command.add_argument(
            "--restore-on-exit",
            action="store_true",
            help="on SIGTERM put core_pattern back and remove the handler (without it: only when"
            " the agent's DaemonSet is deleted)",
        )
    run.add_argument(
        "--no-core-pattern",
        action="store_true",
        help="leave the kernel and the handler alone, only ship what is in the spool",
    )
    return parser


def _directory(text: str) -> str:
    path: str = sections.AgentSettings.__dataclass_fields__["hostDir"].metadata["parse"](text)
    return path


def _node(text: str) -> str:
    if not names.is_dns_subdomain(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a Kubernetes name")
    return text
