"""`python -m bench [NAME …]`: run the named benchmarks, or all; exit code 1 if a bar is missed.

A benchmark is a module of this package with `run() -> Iterator[report.Line]`. Its `NEEDS` names
programs, and files if there is a slash in them, without which it is skipped, loudly. `make bench`
puts `tests` on PYTHONPATH: `tests/support` builds the crashers and the installations.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from bench import report

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    names_of_modules = [module.name for module in modules()]
    imported = {name: importlib.import_module(f"bench.{name}") for name in names_of_modules}
    benchmarks = {name: module for name, module in imported.items() if hasattr(module, "run")}
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        print(f"no such benchmark: {' '.join(unknown)}; there are: {' '.join(sorted(benchmarks))}")
        return 2
    missed = 0
    for name in names or sorted(benchmarks):
        print(f"# {name}: {(benchmarks[name].__doc__ or '').splitlines()[0]}", flush=True)
        try:
            for line in lines(name, benchmarks[name]):
                print(line, flush=True)
                missed += line.short
        except Exception:  # noqa: BLE001 (the others are still worth their time)
            traceback.print_exc()
            print(report.Line(f"{name}: FAILED, as told above", ""), flush=True)
            missed += 1
    return 1 if missed else 0


def lines(name: str, benchmark: ModuleType) -> Iterator[report.Line]:
    missing = [need for need in getattr(benchmark, "NEEDS", ()) if not available(need)]
    if missing:
        return iter([report.skipped(name, f"there is no {' and no '.join(missing)}")])
    measured: Iterator[report.Line] = benchmark.run()
    return measured


def available(need: str) -> bool:
    if "/" in need:
        return (HERE.parent / need).exists()
    return shutil.which(need, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin") is not None


def modules() -> list[pkgutil.ModuleInfo]:
    return [
        module for module in pkgutil.iter_modules([str(HERE)]) if not module.name.startswith("__")
    ]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
