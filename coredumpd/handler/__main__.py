"""Entry of the installed launcher: `coredumpd handle …` and nothing else.

The launcher has no other role frozen into it, so it does not go through `cli`.
"""

from __future__ import annotations

import sys

from coredumpd import __version__
from coredumpd.handler import main as handler


def main(words: list[str]) -> int:
    """The exit code. A person who runs the launcher by hand is told where the other roles are."""
    match words[:1]:
        case ["handle"]:
            return handler.main(words[1:])
        case ["--version"]:
            print(f"coredumpd {__version__}")
            return 0
        case _:
            from coredumpd import errors  # not on a crash's way to its first bytes

            print(
                "coredumpd: this is the installed crash handler; it knows the role 'handle' only.\n"
                "Other roles: run the coredumpd executable it was installed from.",
                file=sys.stderr,
            )
            return errors.UsageError.exit_code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
