from __future__ import annotations

import dataclasses
import io
import tarfile

import pytest
from support import archives as samples
from support import keys, sealed

from coredumpd import errors
from coredumpd.archive import plan, stream


def _bytes(store: samples.MemoryStore, archive: plan.Plan) -> bytes:
    return b"".join(stream.read(archive, store.open_core))


def test_the_length_is_exact() -> None:
    store = samples.MemoryStore()
    archive = plan.plan([store.add("app", b"core" * 999), store.add("side", b"")])
    assert len(_bytes(store, archive)) == archive.length


def test_dumps_are_ordered_oldest_first_whatever_order_they_came_in() -> None:
    store = samples.MemoryStore()
    new, old = store.add("app", b"new", 1_700_000_100), store.add("side", b"old", 1_700_000_000)
    assert plan.plan([new, old]).dumps == (old, new)
    assert plan.plan([new, old]) == plan.plan([old, new])


def test_another_core_gives_another_etag() -> None:
    store = samples.MemoryStore()
    one, two = samples.MemoryStore().add("app", b"one"), samples.MemoryStore().add("app", b"two")
    assert one.key == two.key
    assert plan.plan([one]).etag != plan.plan([two]).etag
    assert plan.plan([one]).etag != plan.plan([]).etag
    assert plan.plan([store.add("app", b"one")]).etag == plan.plan([one]).etag


def test_the_etag_is_strong_and_quoted() -> None:
    assert plan.plan([]).etag.startswith('"')


def test_a_core_of_another_length_than_its_record_says_is_refused() -> None:
    dump = samples.MemoryStore().add("app", b"core")
    with pytest.raises(errors.StorageError, match=r"core\.gz is 3 bytes, its meta\.json says"):
        plan.plan([dataclasses.replace(dump, stored_size=3)])


def test_a_sealed_core_is_called_what_it_is_and_has_the_length_of_the_age_file() -> None:
    key, crash, core = sealed.make(b"memory " * 100_000, keys.age())
    store = samples.MemoryStore()
    store.cores[key] = core.getvalue()
    data = _bytes(store, plan.plan([plan.Dump(key, crash, len(core.getvalue()))]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {entry.name.rpartition("/")[2]: entry for entry in archive}
        assert list(names) == ["meta.json", "core.gz.age"]
        assert names["core.gz.age"].size == crash.content[0]
        inside = archive.extractfile(names["core.gz.age"])
        assert inside is not None
        assert inside.read(22) == b"age-encryption.org/v1\n"
