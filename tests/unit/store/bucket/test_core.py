from __future__ import annotations

import random

import obstore
import pytest
from obstore import store as obstores

from coredumpd import errors
from coredumpd.store.bucket import core as cores

DATA = random.Random(3).randbytes(10_000_000)


@pytest.fixture
def objects():
    made = obstores.MemoryStore()
    obstore.put(made, "core", DATA)
    return made


@pytest.fixture
def core(objects):
    made = cores.WindowedCore("memory://", objects, "core")
    yield made
    made.close()


def test_any_range_is_the_bytes_of_that_range(core):
    rng = random.Random(4)
    for _ in range(50):
        offset, size = rng.randrange(len(DATA) + 100), rng.randrange(5_000_000)
        assert core.read_at(offset, size) == DATA[offset : offset + size]


def test_reading_on_finds_the_next_window_already_asked_for(core, monkeypatch):
    asked = []
    get = obstore.get

    def counted(*arguments, **options):
        asked.append(options["options"]["range"])
        return get(*arguments, **options)

    monkeypatch.setattr(cores.obstore, "get", counted)
    step = 64 * 1024
    assert b"".join(core.read_at(at, step) for at in range(0, len(DATA), step)) == DATA
    assert asked[0] == (0, 256 * 1024)
    assert asked == sorted(asked)
    assert len(asked) == 4  # 256 KiB, two of 4 MiB, the rest: nothing was fetched twice


def test_a_core_that_is_gone_fails_while_it_is_read(core, objects):
    obstore.delete(objects, "core")
    with pytest.raises(errors.StorageError):
        core.read_at(0, 10)


def test_closing_twice_is_fine(core):
    core.read_at(0, 10)
    core.close()
    core.close()
