from __future__ import annotations

import subprocess
import tarfile
import zlib
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies
from support import archives as samples

from coredumpd import errors
from coredumpd.archive import plan, stream, ustar
from coredumpd.formats import record as records

CORES = (b"first core " * 5000, b"", bytes(range(256)) * 2)
READERS = (
    "tar -zxvf {archive} -C {out}",
    "busybox tar -zxvf {archive} -C {out}",
    "bsdtar -xvzf {archive} -C {out}",
)


def _archive() -> tuple[samples.MemoryStore, plan.Plan, bytes]:
    store = samples.MemoryStore()
    dumps = [store.add(f"c{n}", core, 1_700_000_000 + n, 3) for n, core in enumerate(CORES)]
    archive = plan.plan(dumps)
    return store, archive, b"".join(stream.read(archive, store.open_core))


STORE, ARCHIVE, FULL = _archive()


@hypothesis.given(strategies.integers(0, len(FULL)), strategies.integers(0, len(FULL)))
def test_any_slice_is_the_slice_of_the_whole(offset: int, end: int) -> None:
    assert b"".join(stream.read(ARCHIVE, STORE.open_core, offset)) == FULL[offset:]
    assert b"".join(stream.read(ARCHIVE, STORE.open_core, offset, end)) == FULL[offset:end]


def _check(out: Path) -> None:
    for dump, core in zip(ARCHIVE.dumps, CORES, strict=True):
        directory = out / dump.key.container / dump.key.id
        assert (directory / "core").read_bytes() == core
        meta = records.CrashRecord.parse((directory / "meta.json").read_bytes())
        assert int(meta.raw["core"]["crc32"], 16) == zlib.crc32(core)
        assert (directory / "core").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("reader", READERS)
def test_the_tools_people_have_unpack_it(reader: str, tmp_path: Path) -> None:
    command = reader.format(archive=tmp_path / "dump.tar.gz", out=tmp_path / "out").split()
    if subprocess.run(["which", command[0]], capture_output=True).returncode:
        pytest.skip(f"{command[0]} is not installed")
    (tmp_path / "dump.tar.gz").write_bytes(FULL)
    (tmp_path / "out").mkdir()
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "" or "bsdtar" in reader
    _check(tmp_path / "out")


def test_pythons_tarfile_unpacks_it(tmp_path: Path) -> None:
    (tmp_path / "dump.tar.gz").write_bytes(FULL)
    with tarfile.open(tmp_path / "dump.tar.gz") as tar:
        tar.extractall(tmp_path / "out")
    _check(tmp_path / "out")


@pytest.mark.parametrize("tool", ["tar", "busybox tar", "bsdtar"])
def test_a_core_above_8_gib_is_listed_with_its_size(tool: str, tmp_path: Path) -> None:
    if subprocess.run(["which", tool.split()[0]], capture_output=True).returncode:
        pytest.skip(f"{tool} is not installed")
    size = 9 * 2**30
    head = ustar.header("app/core", size, 1_700_000_000)
    with (tmp_path / "big.tar").open("wb") as file:  # sparse: readers seek over the core
        file.write(head)
        file.seek(size, 1)
        file.write(ustar.header("app/next", 0, 0) + ustar.END)
    command = [*tool.split(), "-tvf", str(tmp_path / "big.tar")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert str(size) in run.stdout
    assert "app/next" in run.stdout


def test_a_core_that_changed_length_since_the_plan_cuts_the_stream() -> None:
    store = samples.MemoryStore()
    dump = store.add("app", b"core" * 100)
    archive = plan.plan([dump])
    store.cores[dump.key] += b"x"
    with pytest.raises(errors.StorageError, match="were planned"):
        list(stream.read(archive, store.open_core))
