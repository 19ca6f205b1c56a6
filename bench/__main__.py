"""`python -m bench [NAME …]`: run the named benchmarks, or all; exit code 1 if a bar is missed.

A benchmark is a module of this package with `run() -> Iterator[report.Line]`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # tests/support builds crashers and installations


def main(names: list[str]) -> int:
    known = {found.name: importlib.import_module(f"bench.{found.name}") for found in modules()}
    benchmarks = {name: module for name, module in known.items() if hasattr(module, "run")}
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        print(f"no such benchmark: {' '.join(unknown)}; there are: {' '.join(sorted(benchmarks))}")
        return 2
    missed = 0
    for name in names or sorted(benchmarks):
        print(f"# {name}: {(benchmarks[name].__doc__ or '').splitlines()[0]}", flush=True)
        for line in benchmarks[name].run():
            print(line, flush=True)
            missed += line.short
    return 1 if missed else 0


def modules() -> list[pkgutil.ModuleInfo]:
    found = pkgutil.iter_modules([str(HERE)])
    return [module for module in found if not module.name.startswith("__")]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
