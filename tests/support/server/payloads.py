"""Small bodies that cost a careless server much: JSON patches of an object, and YAML."""

from __future__ import annotations

from typing import Any

_BIG = {"op": "add", "path": "/spec/x", "value": ["x" * 400_000]}
_NESTING = [
    {"op": "add", "path": "/b", "value": {}},
    {"op": "move", "from": "/spec", "path": "/b/a"},
    {"op": "move", "from": "/b", "path": "/spec"},
]
PATCHES: dict[str, list[dict[str, Any]]] = {
    "doubled": [{"op": "copy", "from": "", "path": f"/spec/{n}"} for n in range(30)],
    "doubled in a list": [
        {"op": "add", "path": "/spec/l", "value": ["x" * 1000]},
        *[{"op": "copy", "from": "/spec/l", "path": "/spec/l/-"}] * 40,
    ],
    "copied and removed": [
        _BIG,
        *[{"op": "copy", "from": "/spec/x", "path": "/y"}, {"op": "remove", "path": "/y"}] * 2000,
    ],
    "nested by moves": _NESTING * 3000,
    "nested by copies": [{"op": "copy", "from": "/spec", "path": "/spec/a"}] * 9000,
    "a list shifted": [
        {"op": "add", "path": "/spec/l", "value": [0] * 200_000},
        *[{"op": "add", "path": "/spec/l/0", "value": 0}] * 9000,
    ],
    "a deep pointer": [{"op": "add", "path": "/a" * 400_000, "value": 0}],
    "managed fields": [{"op": "add", "path": "/metadata/managedFields", "value": [{}] * 200_000}],
}

YAML = {
    "flow lists": b"spec: [" + b"[]," * 21_000 + b"]",
    "flow lists of 1 MiB": b"spec: [" + b"[]," * 330_000 + b"]",
    "sexagesimal": b"spec: " + b"1:" * 30_000 + b"1",
    "a sexagesimal fraction": b"spec: " + b"1:" * 30_000 + b"1.5",
    "a tagged sexagesimal": b"spec: !!int " + b"1:" * 30_000 + b"1",
    "aliases": b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nspec: [*c,*c]",
    "deep": b"[" * 60_000,
    "deep keys": b"? " * 30_000,
    "directives": b"".join(b"%%TAG !a%d! x\n" % number for number in range(3500)) + b"---\na: 1",
    "a huge integer": b"spec: " + b"9" * 60_000,
    "not UTF-8": b"a: \xff",
    "control characters": b"a: \x00\x01",
}
