"""`python -m tests.fuzz SECONDS [TARGET …]`: the time is shared out; exit code 1 if one fell.

Each target runs in a process of its own. What felled one is kept in `build/fuzz/`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INPUT_BYTES_MAX = 4096
HANG_S = 5
MEMORY_MIB = 1024


def main(words: list[str]) -> int:
    if words[:1] == ["run"]:
        return fuzz(words[1], words[2:])
    from tests.fuzz import targets

    if not words or not words[0].isdecimal():
        print("how many seconds? python -m tests.fuzz SECONDS [TARGET ...]", file=sys.stderr)
        return 2
    names = words[1:] or list(targets.TARGETS)
    if unknown := set(names) - set(targets.TARGETS):
        print(f"no such target: {', '.join(unknown)}; there are {', '.join(targets.TARGETS)}")
        return 2
    seconds = max(1, int(words[0]) // len(names))
    fallen = [name for name in names if not stands(name, targets.TARGETS[name][0], seconds)]
    print(f"{len(names) - len(fallen)} of {len(names)} stand" + "".join(map(" -{}".format, fallen)))
    return 1 if fallen else 0


def stands(name: str, seeds: tuple[bytes, ...], seconds: int) -> bool:
    """Fuzz one target for `seconds`; print its last words."""
    kept = ROOT / "build" / "fuzz"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = {
            "max_total_time": seconds,
            "max_len": INPUT_BYTES_MAX,
            "timeout": HANG_S,
            "rss_limit_mb": MEMORY_MIB,
            "artifact_prefix": f"{kept}/{name}-",
        }
        words = [f"-{option}={value}" for option, value in options.items()]
        command = [sys.executable, "-m", "tests.fuzz", "run", name, *words, corpus]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    verdict = "ok" if done.returncode == 0 else "FELL"
    print(f"{name:10} {verdict}  {lines[-1] if lines else ''}", flush=True)
    if done.returncode:
        print("\n".join(lines[-30:]))
    return done.returncode == 0


def fuzz(name: str, words: list[str]) -> int:
    """In a child: never returns. Only our own code is instrumented, as it is imported."""
    import atheris

    with atheris.instrument_imports(include=["coredumpd"]):
        from tests.fuzz import targets
    atheris.Setup([name, *words], targets.TARGETS[name][1])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
