"""The parser of every role: a wrong command line raises UsageError, which `cli` reports."""

from __future__ import annotations

import argparse
from typing import NoReturn

from coredumpd import errors


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """As ArgumentParser.error; raises UsageError instead of exiting."""
        raise errors.UsageError(f"{message}\n{self.format_usage().rstrip()}")
