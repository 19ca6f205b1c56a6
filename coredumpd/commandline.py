"""The parser of every role: a wrong command line raises UsageError, which `cli` reports."""

from __future__ import annotations

import argparse
from typing import NoReturn

from coredumpd import errors


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of leaving the process."""

    def add_log(self, default: str | None = "json") -> None:
        """The flag of every daemon: in which format it logs. None: the command decides."""
        shown = f" (default: {default})" if default else ""
        self.add_argument(
            "--log",
            choices=("json", "text"),
            default=default,
            help=f"format of the log on stderr{shown}",
        )

    def add_kubeconfig(self) -> None:
        """The flags by which a person's command finds the cluster."""
        self.add_argument("--kubeconfig", metavar="FILE", help="default: as kubectl")
        self.add_argument(
            "--context", metavar="NAME", help="of the kubeconfig; default: the current"
        )

    def error(self, message: str) -> NoReturn:
        """As ArgumentParser.error; raises UsageError instead of exiting."""
        raise errors.UsageError(f"{message}\n{self.format_usage().rstrip()}")
