"""A wrong command line is an error of ours: `cli` alone says it and chooses the exit code."""

from __future__ import annotations

import argparse
from typing import NoReturn

from coredumpd import errors


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """argparse's: a wrong argument."""
        raise errors.UsageError(f"{message}\n{self.format_usage().rstrip()}")
