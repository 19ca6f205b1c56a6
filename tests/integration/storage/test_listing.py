"""What a pass over a bucket costs, counted on the wire."""

from __future__ import annotations

import re
from concurrent import futures

from support import dumps

from coredumpd.server.retention import listing
from coredumpd.settings import backends
from coredumpd.store import engines as stores

DUMPS = 1200


def test_a_pass_asks_once_for_a_thousand_objects_and_reads_no_record(between, cluster):
    reach = cluster.bucket("listing")
    store = stores.open_store("s3://listing/dumps", backends.BucketSettings(**reach))
    with futures.ThreadPoolExecutor(16) as pool:
        made = [dumps.make(pid=pid) for pid in range(DUMPS)]
        list(pool.map(lambda dump: store.commit(*dump), made))
    counted = stores.open_store(
        "s3://listing/dumps", backends.BucketSettings(endpoint=between.endpoint)
    )
    for one_pass in (
        lambda: sum(len(dumps_of) for _, dumps_of in iter_groups(counted)),
        lambda: sum(1 for _ in counted.list()),
    ):
        between.heard = []
        assert one_pass() == DUMPS
        asked = re.findall(rb"(?m)^([A-Z]+) (\S+) HTTP", b"".join(between.heard))
        assert len(asked) == -(-2 * DUMPS // 1000)
        assert all(method == b"GET" and b"list-type=2" in path for method, path in asked)


def iter_groups(store):
    """As the collector goes over a store."""
    groups = listing.Namespaces(store.files())
    while (group := groups.next()) is not None:
        yield group
