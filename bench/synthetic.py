"""A bucket of a million dumps that nobody stores: listings and answers are made when asked for.

A real HTTP server that speaks as much of S3 as a pass over a store needs: ListObjectsV2, a thousand
keys a page, GET and HEAD. For what our side costs at a size that the gateway's memory does not hold
(30 kB a dump). Run as `python -m bench.synthetic DUMPS`; it prints its port.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import sys
import urllib.parse

PER_NAMESPACE, PER_POD = 1000, 100
PAGE_KEYS_MAX = 1000
FILES = ("core.gz", "meta.json")
_MODIFIED, _MODIFIED_HTTP = "2026-11-22T15:00:00.000Z", "Sun, 22 Nov 2026 15:00:00 GMT"
_CONTENT = (
    "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>"
    "<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def place(number: int) -> str:
    """The path of a simulated dump: a thousand in a namespace, a hundred in a pod, one an hour.

    So no loop is to be folded, as in a store that a collector has passed over.
    """
    namespace, rest = divmod(number, PER_NAMESPACE)
    pod, hour = divmod(rest, PER_POD)
    day, hour = divmod(hour, 24)
    when = f"202611{day + 1:02d}t{hour:02d}0000z"
    return f"team-{namespace:06d}/{pod:04d}-{namespace:08d}/app/app-{when}-{number}-0000"


@functools.lru_cache(maxsize=8)
def pod_places(pod: int) -> list[str]:
    """The dumps of the `pod`-th pod, in the order of a listing."""
    numbers = range(pod * PER_POD, (pod + 1) * PER_POD)
    return sorted((place(number) for number in numbers), key=lambda path: f"{path}/")


def key_of(index: int) -> str:
    """The `index`-th key of the whole bucket, as a listing is sorted."""
    dump, file = divmod(index, len(FILES))
    pod, rest = divmod(dump, PER_POD)
    return f"{pod_places(pod)[rest]}/{FILES[file]}"


def within(prefix: str, dumps: int) -> range:
    """The indices of the keys below `prefix`: all, or one namespace's."""
    if not prefix:
        return range(len(FILES) * dumps)
    namespace = re.fullmatch(r"team-(\d{6})/", prefix)
    if namespace is None:
        raise ValueError(prefix)
    first = int(namespace[1]) * PER_NAMESPACE
    return range(len(FILES) * min(first, dumps), len(FILES) * min(first + PER_NAMESPACE, dumps))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    dumps = 0
    bodies: dict[str, bytes]

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if query.get("list-type") == "2":
            self._answer(self._listing(query), "application/xml")
        else:
            self._answer(self.bodies[parts.path.rsplit("/", 1)[1]], "binary/octet-stream")

    do_HEAD = do_GET

    def _listing(self, query: dict[str, str]) -> bytes:
        indices = within(query.get("prefix", ""), self.dumps)
        first = int(query.get("continuation-token", indices.start))
        page = range(first, min(first + PAGE_KEYS_MAX, indices.stop))
        sizes = [len(self.bodies[name]) for name in FILES]
        contents = "".join(
            _CONTENT.format(
                key=key_of(index), modified=_MODIFIED, etag=index, size=sizes[index % len(FILES)]
            )
            for index in page
        )
        more = page.stop < indices.stop
        token = f"<NextContinuationToken>{page.stop}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>bench</Name>'
            f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{PAGE_KEYS_MAX}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        ).encode()

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", _MODIFIED_HTTP)
        self.send_header("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(dumps: int) -> None:
    from support import dumps as made

    _, entry, core = made.make()
    _Handler.dumps = dumps
    _Handler.bodies = dict(zip(FILES, (core.getvalue(), entry.encode()), strict=True))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
