"""The guard makes the handlers' cgroups before the first crash, and removes them with the rest."""

from __future__ import annotations

from pathlib import Path

from support import waiting
from support.node import capturing, corepattern

from coredumpd.formats import handler_cgroups

pytestmark = capturing.needs_core_pattern


def directories(host_dir: Path) -> list[Path]:
    procs = handler_cgroups.parse((host_dir / "handler.cgroups").read_bytes())
    return [Path(path).parent for path in procs]


def test_they_are_there_when_core_pattern_is_ours_and_gone_with_the_installation(node):
    node.settings |= {"handlersCpuWeight": 25, "handlerMemory": "100Mi", "corePipeLimit": 10}
    node.policy["captureSlots"] = 3
    with corepattern.borrowed():
        node.start("--no-kubernetes", "--restore-on-exit")
        made = directories(node.host_dir)
        assert made
        values = {
            path.name: int(path.read_text())
            for one in made
            for name in ("cpu.weight", "cpu.shares", "memory.max", "memory.limit_in_bytes")
            if (path := one / name).exists()
        }
        assert values.get("cpu.weight", values.get("cpu.shares", 0) * 25 // 256) == 25
        limit = (3 * 100 + 10 * 8) << 20
        assert values.get("memory.max", values.get("memory.limit_in_bytes")) == limit
        waiting.until("health", lambda: node.get("/healthz") == (200, "ok\n"), 30)
        assert node.stop() == 0
    assert [one for one in made if one.exists()] == []
