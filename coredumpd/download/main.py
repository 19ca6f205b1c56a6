"""`coredumpd download`: fetch the dumps of a pod with the user's rights; verify, unpack, decrypt.

Tested in: tests/integration/test_download.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from coredumpd import commandline, errors, sealing, terminal
from coredumpd.download import directory, fetch, space, unpack
from coredumpd.formats import api as api_names
from coredumpd.formats import layout
from coredumpd.kube import client, collection

IDENTITY_BYTES_MAX = 1024 * 1024
# Errors that concern one dump only: the others are still downloaded.
_DUMP_ERRORS = (
    errors.CannotOpen,
    errors.Conflict,
    errors.StorageError,
    errors.NotFound,
    errors.BadRecord,
    errors.Untrusted,
)


def main(words: list[str], program: str = "coredumpd") -> int:
    """Run the role with the words after its name; returns the exit code."""
    arguments = parser(program).parse_args(words)
    if (arguments.pod is None) == (arguments.id is None):
        raise errors.UsageError("name a POD, or one dump by --id")
    if arguments.id is not None and (arguments.uid or arguments.container):
        raise errors.UsageError("--id names one dump: --uid and --container are for a POD")
    for path in client.kubeconfigs(arguments.kubeconfig):
        terminal.warn_exposed(path, 0o022, "it names the server, and programs to run")
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
    terminal.warn_exposed(path, 0o077, "it holds secret keys")
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
) -> AsyncIterator[fetch.Dump]:
    """The dumps of the server that the arguments select, oldest first."""
    fields = {
        "metadata.name": arguments.id,
        "status.podName": arguments.pod,
        "status.podUID": arguments.uid,
    }
    selector = ",".join(f"{name}={value}" for name, value in fields.items() if value)
    path = f"{api_names.PATH}/namespaces/{urllib.parse.quote(namespace, safe='')}/coredumps"
    pages = collection.pages(api, path, {"fieldSelector": selector})
    items = [item async for page in pages for item in page["items"]]
    for item in sorted(items, key=lambda item: str((item.get("status") or {}).get("time"))):
        status = {"podUID": "", "container": ""} | (item.get("status") or {})
        if arguments.container in (None, status["container"]):
            # Its construction validates: names that come from a server become paths here.
            key = layout.DumpKey(
                namespace, status["podUID"], status["container"], item["metadata"]["name"]
            )
            yield fetch.Dump(key, space.Sizes.parse(status.get("core")))


async def _download(
    api: client.Client, dump: fetch.Dump, place: directory.DumpDirectory, keys: Sequence[Any]
) -> None:
    """Put the dump's core into `place`. Raises CannotOpen when no key decrypts it."""
    record = place.record()
    if record is not None and place.has_core(record):
        return
    if record is None or not place.has_sealed(record):
        need = dump.sizes.peak(opens=bool(keys))
        with terminal.Progress(dump.key.id, dump.sizes.stored) as progress:
            record = await fetch.fetch(api, dump, place, need, progress.advance)
    if record.sealed is None:
        return
    try:
        place.open_sealed(record, keys)
    except errors.CannotOpen as error:
        recipients = ", ".join(map(ascii, record.sealed.get("to") or ["unknown keys"]))
        problem = "no --identity that was given fits" if keys else "it is encrypted"
        rule = "run this again with --identity FILE, the secret key of one of these"
        raise errors.CannotOpen(
            f"{problem}: kept as {place.path / record.core_name}; {rule}: {recipients}"
        ) from error


def parser(program: str = "coredumpd") -> commandline.Parser:
    """The role's command line, `program` download."""
    parser = commandline.Parser(
        prog=f"{program} download",
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
    parser.add_kubeconfig()
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
