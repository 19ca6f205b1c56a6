"""`python -m tests.e2e.cluster up --dir DIR` and `down --dir DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.e2e.cluster import single
from tests.support.waiting import Failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"))
    parser.add_argument("--dir", required=True, type=Path, help="where everything of it lives")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "down":
            single.down(arguments.dir)
            return 0
        cluster = single.up(arguments.dir)
    except Failed as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    print(f"export KUBECONFIG={cluster.control.admin}")
    print(f"# end it with: python -m tests.e2e.cluster down --dir {arguments.dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
