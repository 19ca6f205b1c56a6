"""`coredumpd agent run | install | uninstall`.

Tested in: tests/integration/agent/test_core_pattern.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from pathlib import Path

from coredumpd import commandline, log
from coredumpd.agent import daemon
from coredumpd.agent.node import install, sysctls
from coredumpd.agent.tenants import policy_file
from coredumpd.formats import host_dir as host_dirs
from coredumpd.formats import names
from coredumpd.settings import file, sections

_EPILOG = "`coredumpd agent --config FILE` is the same as `coredumpd agent run --config FILE`."


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    arguments = _parser().parse_args(words)
    settings = file.load(arguments.config)
    host_dir = Path(arguments.host_dir or settings.agent.hostDir)
    match arguments.command:
        case "run":
            return _run(arguments, settings)
        case "install":
            return _install(arguments, settings, host_dir)
        case _:
            return _uninstall(settings.agent, host_dir)


def _run(arguments: argparse.Namespace, settings: sections.Settings) -> int:
    log.configure("agent", arguments.log)
    options = daemon.Options(
        node=arguments.node_name,
        kubeconfig=arguments.kubeconfig,
        kubernetes=not arguments.no_kubernetes,
        restore=arguments.restore_on_exit,
        own_kernel=not arguments.no_core_pattern,
    )
    asyncio.run(daemon.run(settings, options))
    return 0


def _install(arguments: argparse.Namespace, settings: sections.Settings, host_dir: Path) -> int:
    install.prepare(host_dir)
    policy_file.write(host_dir, settings.policy, arguments.node_name)
    line = install.install(host_dir)
    if not arguments.print_pattern:
        core_sysctls = sysctls.from_settings(host_dir, settings.agent, line)
        core_sysctls.save_original()
        core_sysctls.apply()
    install.remove_old(host_dir)
    print(line)
    return 0


def _uninstall(agent: sections.AgentSettings, host_dir: Path) -> int:
    print(sysctls.from_settings(host_dir, agent, "").restore())
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
    run = commands.add_parser("run", help="run until SIGTERM (the default)")
    put = commands.add_parser("install", help="install the handler and set core_pattern, then exit")
    undo = commands.add_parser("uninstall", help="put core_pattern back, remove what was installed")
    for command in (run, put, undo):
        command.description = (command.prog.rpartition(" ")[2]).capitalize()
        command.add_argument(
            "--config", metavar="FILE", help="YAML configuration (docs/settings.md)"
        )
    for command in (put, undo):
        command.add_argument(
            "--host-dir", type=_directory, metavar="DIR", help="instead of agent.hostDir"
        )
    run.set_defaults(host_dir=None)
    put.add_argument(
        "--print-pattern",
        action="store_true",
        help="leave the kernel alone, only print the core_pattern line",
    )
    for command in (run, put):
        command.add_argument(
            "--node-name",
            type=_node,
            default=os.environ.get("NODE_NAME") or socket.gethostname().lower(),
            metavar="NAME",
            help="this node's name in Kubernetes (default: $NODE_NAME, else the host name)",
        )
    run.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's service account")
    run.add_argument("--no-kubernetes", action="store_true", help="ask no API server for anything")
    run.add_argument(
        "--restore-on-exit",
        action="store_true",
        help="on SIGTERM put core_pattern back and remove the handler (without it: only when the"
        " agent's DaemonSet is deleted)",
    )
    run.add_argument(
        "--no-core-pattern",
        action="store_true",
        help="leave the kernel and the handler alone, only ship what is in the spool",
    )
    run.add_log()
    return parser


def _directory(text: str) -> str:
    path: str = sections.AgentSettings.__dataclass_fields__["hostDir"].metadata["parse"](text)
    return path


def _node(text: str) -> str:
    if not names.is_dns_subdomain(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a Kubernetes name")
    return text
