"""One crash on one screen, from its Coredump object. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from coredumpd import units

_WIDTH = 11


def page(
    dump: Mapping[str, Any],
    backtrace: str,
    program: str = "coredumpd",
    others: int = 0,
    now_s: float | None = None,
) -> str:
    """The page's text. `backtrace` is the stack, or the reason why there is none.

    A line whose facts are not known is left out. `program` begins the commands to go on with;
    `others` dumps are of the same target.
    """
    status = dump.get("status") or {}
    lines = [f"{title:<{_WIDTH}}{text}" for title, text in _lines(dump, status, now_s) if text]
    stack = [f"  {line}" for line in backtrace.splitlines()]
    next = [f"  {program} {words}" for words in _next(dump, others)]
    return "\n".join([*lines, "", "Backtrace:", *stack, "", "Next:", *next])


def line(dump: Mapping[str, Any]) -> str:
    """The crash in one line: time, pod, container, signal, program, sizes, and the dump's name."""
    meta, status = dump["metadata"], dump.get("status") or {}
    process = status.get("process") or {}
    words = (
        status.get("time"),
        f"{meta['namespace']}/{status.get('podName') or status.get('podUID')}",
        status.get("container"),
        (status.get("signal") or {}).get("name"),
        process.get("exe") or process.get("comm"),
        meta["name"],
    )
    return "  ".join(str(word) for word in words if word)


def _lines(
    dump: Mapping[str, Any], status: Mapping[str, Any], now_s: float | None
) -> Iterator[tuple[str, str]]:
    meta = dump["metadata"]
    yield "Dump", f"{meta['name']} in namespace {meta['namespace']}"
    yield "Crashed", _when(status, time.time() if now_s is None else now_s)
    yield "Pod", _join(status, "{podName}", ", uid {podUID}", ", container {container}")
    yield "Owner", _join(status.get("owner"), "{kind} {name}")
    yield "Image", _join(status, "{image}")
    yield "Node", _join(status, "{node}", ", Linux {kernel}")
    process = status.get("process") or {}
    program = {**process, "program": process.get("exe") or process.get("comm")}
    yield "Program", _join(program, "{program}", ", pid {pid}", " ({nsPid} in the container)")
    yield "Signal", _signal(status.get("signal") or {})
    yield "Core", _core(status)
    yield "Loop", _loop(status.get("crashLoop"))
    yield "Captured", _capture(status.get("capture") or {})


def _join(values: Mapping[str, Any] | None, *patterns: str) -> str:
    """The patterns whose value is known, one after the other; "" if the first one's is not."""
    texts = []
    for index, pattern in enumerate(patterns):
        try:
            text = pattern.format_map({k: v for k, v in (values or {}).items() if v is not None})
        except KeyError:
            text = ""
        if index == 0 and not text:
            return ""
        texts.append(text)
    return "".join(texts)


def _when(status: Mapping[str, Any], now_s: float) -> str:
    text = status.get("time")
    try:
        age = units.format_duration(max(0.0, now_s - units.parse_timestamp(text)))
    except ValueError:
        return ""
    return f"{text}, {age} ago"


def _signal(signal: Mapping[str, Any]) -> str:
    name = signal.get("name") or signal.get("number")
    parts = {**signal, "shown": name}
    return _join(parts, "{shown}", ", {codeName}", ", address {address}", ", at instruction {pc}")


def _core(status: Mapping[str, Any]) -> str:
    core = status.get("core") or {}
    size, stored = core.get("size"), core.get("storedSize")
    if not isinstance(size, int) or not isinstance(stored, int) or status.get("crashLoop"):
        return ""
    text = f"{units.format_quantity(size)}B of memory, {units.format_quantity(stored)}B stored"
    if core.get("sealed"):
        text += ", encrypted to " + ", ".join(map(str, core["sealed"].get("to") or ["keys"]))
    cut = core.get("truncated") or {}
    if cut.get("is"):
        text += f"; CUT SHORT: {cut.get('reason') or 'for a reason that is not known'}"
    return text


def _loop(loop: Mapping[str, Any] | None) -> str:
    """A record that counts crashes of a loop has no core."""
    return _join(
        loop, "{count} crashes, whose cores are not kept", ", from {firstTime}", " to {lastTime}"
    )


def _capture(capture: Mapping[str, Any]) -> str:
    return _join(capture, "in {durationMs} ms", " by {mode}", ", coredumpd {handlerVersion}")


def _next(dump: Mapping[str, Any], others: int) -> Iterator[str]:
    """The commands to go on with, without the program's name."""
    meta, status = dump["metadata"], dump.get("status") or {}
    if not status.get("crashLoop"):
        yield f"download -n {meta['namespace']} --id {meta['name']}"
    if others:
        pod = status.get("podName") or meta["name"]
        yield f"list -n {meta['namespace']} {pod}    (this is the newest of {others + 1})"
