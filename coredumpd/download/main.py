"""`coredumpd download`: fetch the dumps of a pod with the user's rights; verify, unpack, decrypt.

Tested in: tests/integration/test_download.py
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import urllib.parse
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coredumpd import commandline, errors, sealing, terminal
from coredumpd.download import directory, unpack
from coredumpd.formats import layout
from coredumpd.formats import record as records
from coredumpd.kube import client, collection

API = "/apis/coredump.fujitsu.com/v1alpha1"
IDENTITY_BYTES_MAX = 1024 * 1024
TRIES_MAX = 6  # without one byte of progress
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 10.0
# The bytes received are not the dump, or the archive is longer than the dump.
_BAD_ARCHIVE = (errors.StorageError, errors.RangeNotSatisfiable)
# Errors that concern one dump only: the others are still downloaded.
_DUMP_ERRORS = (
    errors.CannotOpen,
    errors.Conflict,
    errors.StorageError,
    errors.NotFound,
    errors.BadRecord,
)


class Dump(NamedTuple):
    """A dump that the server has; `stored_size` in bytes, for the progress bar."""

    key: layout.DumpKey
    stored_size: int


def main(words: list[str]) -> int:
    """Run the role with the words after its name; returns the exit code."""
    arguments = parser().parse_args(words)
    if (arguments.pod is None) == (arguments.id is None):
        raise errors.UsageError("name a POD, or one dump by --id")
    if arguments.id is not None and (arguments.uid or arguments.container):
        raise errors.UsageError("--id names one dump: --uid and --container are for a POD")
    keys = [key for path in arguments.identity for key in read_identities(path)]
    namespace = arguments.namespace or client.default_namespace(
        arguments.kubeconfig, arguments.context
    )
    try:
        return asyncio.run(_run(arguments, namespace, keys))
    except BrokenPipeError:
        raise  # nobody reads our output any more: `cli` handles it
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        raise errors.StorageError(f"cannot write: {path}{error.strerror}") from error


def read_identities(path: str) -> list[Any]:
    """The secret keys in the file. Raises UsageError with its path, never with its content."""
    try:
        with open(path, "rb") as file:
            return sealing.identities(file.read(IDENTITY_BYTES_MAX))
    except OSError as error:
        raise errors.UsageError(f"--identity {path}: {error.strerror}") from error
    except errors.Invalid as error:
        raise errors.UsageError(f"--identity {path}: {error}") from error


async def _run(arguments: argparse.Namespace, namespace: str, keys: Sequence[Any]) -> int:
    code = 0
    async with await client.connect(arguments.kubeconfig, arguments.context) as api:
        dumps = [dump async for dump in list_dumps(api, namespace, arguments)]
        if not dumps:
            raise errors.NotFound(f"no dumps of {_subject(arguments)} in namespace {namespace}")
        for dump in dumps:
            place = directory.DumpDirectory(Path(arguments.output), dump.key)
            try:
                await _download(api, dump, place, keys)
            except _DUMP_ERRORS as error:
                print(f"coredumpd: {dump.key.id}: {error}", file=sys.stderr)
                code = code or error.exit_code
            else:
                print(place.path / unpack.CORE, flush=True)
    return code


def _subject(arguments: argparse.Namespace) -> str:
    if arguments.id is not None:
        return f"the id {arguments.id}"
    uid = f", uid {arguments.uid}" if arguments.uid else ""
    return f"pod {arguments.pod}{uid}" + (
        f", container {arguments.container}" if arguments.container else ""
    )


async def list_dumps(
    api: client.Client, namespace: str, arguments: argparse.Namespace
) -> AsyncIterator[Dump]:
    """The dumps of the server that the arguments select, oldest first."""
    fields = {
        "metadata.name": arguments.id,
        "status.podName": arguments.pod,
        "status.podUID": arguments.uid,
    }
    selector = ",".join(f"{name}={value}" for name, value in fields.items() if value)
    path = f"{API}/namespaces/{urllib.parse.quote(namespace, safe='')}/coredumps"
    pages = collection.pages(api, path, {"fieldSelector": selector})
    items = [item async for page in pages for item in page["items"]]
    for item in sorted(items, key=lambda item: str((item.get("status") or {}).get("time"))):
        status = {"podUID": "", "container": ""} | (item.get("status") or {})
        if arguments.container in (None, status["container"]):
            # Its construction validates: names that come from a server become paths here.
            key = layout.DumpKey(
                namespace, status["podUID"], status["container"], item["metadata"]["name"]
            )
            yield Dump(key, (status.get("core") or {}).get("storedSize") or 0)


async def _download(
    api: client.Client, dump: Dump, place: directory.DumpDirectory, keys: Sequence[Any]
) -> None:
    """Put the dump's core into `place`. Raises CannotOpen when no key decrypts it."""
    record = place.record()
    if record is not None and place.has_core(record):
        return
    if record is None or not place.has_sealed(record):
        with terminal.Progress(dump.key.id, dump.stored_size) as progress:
            record = await fetch(api, dump, place, progress.advance)
    if record.sealed is None:
        return
    try:
        place.open_sealed(record, keys)
    except errors.CannotOpen as error:
        recipients = ", ".join(map(ascii, record.sealed.get("to") or ["unknown keys"]))
        problem = "no --identity that was given fits" if keys else "it is encrypted"
        rule = "run this again with --identity FILE, the secret key of one of these"
        raise errors.CannotOpen(
            f"{problem}: kept as {place.path / unpack.SEALED}; {rule}: {recipients}"
        ) from error


async def fetch(
    api: client.Client, dump: Dump, place: directory.DumpDirectory, advance: Callable[[int], None]
) -> records.CrashRecord:
    """Download, verify and unpack; resume a download that this run or an earlier one began.

    Raises StorageError when the bytes received are not that dump; and as the client does.
    """
    with place.archive() as archive:
        resumed = archive.size > 0
        try:
            record = await _fetch(api, dump, place, archive, advance)
        except errors.NotFound:
            archive.remove()
            raise
        except _BAD_ARCHIVE as error:
            archive.clear()
            if not resumed:
                archive.remove()
                raise
            print(f"coredumpd: from the start, after an earlier try: {error}", file=sys.stderr)
            record = await _fetch(api, dump, place, archive, advance)
        archive.remove()
        return record


async def _fetch(
    api: client.Client,
    dump: Dump,
    place: directory.DumpDirectory,
    archive: directory.Archive,
    advance: Callable[[int], None],
) -> records.CrashRecord:
    namespace, id = (
        urllib.parse.quote(part, safe="") for part in (dump.key.namespace, dump.key.id)
    )
    path = f"{API}/namespaces/{namespace}/coredumps/{id}/proxy"  # not cut after 60 s, as dump is
    with place.new_arrival() as arrival:
        unpacker = unpack.Unpacker(arrival.begin)
        offset = tries = 0
        for chunk in archive.read():
            unpacker.feed(chunk)
            offset += len(chunk)
            advance(len(chunk))
        while not unpacker.done:
            query = {"offset": offset} if offset else None
            try:
                async with contextlib.aclosing(api.stream(path, query=query)) as chunks:
                    async for chunk in chunks:
                        archive.write(chunk)
                        unpacker.feed(chunk)
                        offset, tries = offset + len(chunk), 0
                        advance(len(chunk))
                if not unpacker.done:
                    raise errors.Unavailable(f"the download ended after {offset} bytes")
            except errors.Unavailable as error:
                tries += 1
                if tries >= TRIES_MAX:
                    raise
                pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** (tries - 1))
                print(f"coredumpd: again from byte {offset}: {error}", file=sys.stderr)
                await asyncio.sleep(pause_s)
        return arrival.end()


def parser() -> commandline.Parser:
    """The role's command line."""
    parser = commandline.Parser(
        prog="coredumpd download",
        description="Download the core dumps of a pod, with the rights of your kubeconfig.",
        epilog="Each dump becomes DIR/CONTAINER/ID/meta.json and .../core, verified by its CRC-32;"
        " what is there already is not downloaded again, and a download that was cut goes on where"
        " it was. A core that is encrypted, and that no"
        " identity opens, is kept as .../core.gz.age (age -d -i FILE core.gz.age | gunzip > core),"
        " and the exit code is 77.",
    )
    parser.add_argument("pod", metavar="POD", nargs="?", help="all dumps of this pod")
    parser.add_argument("--id", metavar="ID", help="instead of POD: one dump, by its name")
    parser.add_argument(
        "-n", "--namespace", metavar="NAME", help="default: the namespace of the context"
    )
    parser.add_argument("--container", metavar="NAME", help="only dumps of this container")
    parser.add_argument("--uid", metavar="UID", help="only dumps of the pod with this uid")
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: as kubectl")
    parser.add_argument("--context", metavar="NAME", help="of the kubeconfig; default: the current")
    parser.add_argument(
        "-o", "--output", metavar="DIR", default=".", help="where to put them (default: .)"
    )
    parser.add_argument(
        "--identity",
        metavar="FILE",
        action="append",
        default=[],
        help="secret keys that open encrypted cores: an identity file of age, or a private key of"
        " ssh without a passphrase; may be given several times",
    )
    return parser
