"""Downloads: whole, equal, resumable."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import tarfile
from collections.abc import Iterator

import pytest
from support import dumps
from support.server import servers

from coredumpd.formats import layout

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"


@pytest.fixture
def url(world, stored) -> Iterator[str]:
    world.proxied().ask(
        "POST", URL, {"metadata": {"name": "web-0"}, "spec": {"podUID": dumps.POD_UID}}
    )
    yield f"{URL}/web-0"
    world.proxied().ask("DELETE", f"{URL}/web-0")


def cores(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for member in tar:
            container, _, name = member.name.split("/")
            if name == "core":
                found[container] = tar.extractfile(member).read()
    return found


def test_the_archive_holds_every_container_whole(world, stored, url):
    reply = world.proxied().ask("GET", f"{url}/dump")
    assert reply.code == 200
    assert reply.headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in reply.headers
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    assert cores(reply.body) == stored


def test_a_container_is_chosen(world, stored, url):
    assert cores(world.proxied().ask("GET", f"{url}/dump?container=side").body) == {
        "side": stored["side"]
    }


def test_one_dump_is_chosen_by_id(world, stored, url):
    key = next(world.store.list(layout.Prefix("team-a", dumps.POD_UID, "side")))
    assert list(cores(world.proxied().ask("GET", f"{url}/dump?id={key.id}").body)) == ["side"]
    assert world.proxied().ask("GET", f"{url}/dump?id=other").code == 404


def test_proxy_serves_the_same_bytes(world, url):
    one, two = (world.proxied().ask("GET", f"{url}/{name}") for name in ("dump", "proxy"))
    assert (one.body, one.headers["ETag"]) == (two.body, two.headers["ETag"])


def test_a_cut_download_is_continued_by_offset(world, url, tmp_path):
    whole = world.proxied().ask("GET", f"{url}/dump").body
    file = tmp_path / "coredump.tar.gz"
    file.write_bytes(whole[:5000])
    with file.open("ab") as out:
        out.write(world.proxied().ask("GET", f"{url}/dump?offset=5000").body)
    assert file.read_bytes() == whole


def test_continuing_what_is_complete_adds_nothing(world, url):
    whole = world.proxied().ask("GET", f"{url}/dump").body
    reply = world.proxied().ask("GET", f"{url}/dump?offset={len(whole)}")
    assert (reply.code, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("offset=99999999", 416),
        ("offset=-1", 400),
        ("offset=1e3", 400),
        ("offset=" + "9" * 5000, 400),
        ("container=nope", 404),
        ("container=", 400),
        ("container=a&container=b", 400),
        ("contaner=app", 400),
        ("container=%2e%2e%2f", 404),
        ("container=%00", 404),
        ("container=%ff", 400),
    ],
)
def test_a_wrong_query_is_told(world, url, query, code):
    reply = world.proxied().ask("GET", f"{url}/dump?{query}")
    assert reply.code == code
    assert reply.json["code"] == code


def test_an_unknown_container_lists_those_with_dumps(world, url):
    told = world.proxied().ask("GET", f"{url}/dump?container=nope").json["message"]
    assert "'nope'" in told
    assert told.endswith("containers with dumps: app, side")


def test_nothing_stored_names_pod_and_uid(world):
    body = {"metadata": {"name": "calm-0"}, "spec": {"podUID": "1234-5678"}}
    world.proxied().ask("POST", URL, body)
    reply = world.proxied().ask("GET", f"{URL}/calm-0/dump")
    assert reply.code == 404
    assert "pod team-a/calm-0 (uid 1234-5678)" in reply.json["message"]


def test_another_pods_dumps_are_not_reached_by_its_uid(world, stored):
    body = {"metadata": {"name": "not-web-0"}, "spec": {"podUID": dumps.POD_UID}}
    world.proxied().ask("POST", URL, body)
    assert world.proxied().ask("GET", f"{URL}/not-web-0/dump").code == 404


def test_ranges(world, url):
    whole = world.proxied().ask("GET", f"{url}/dump")
    part = world.proxied().ask("GET", f"{url}/dump", headers={"Range": "bytes=10-19"})
    assert (part.code, part.body) == (206, whole.body[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.body)}"
    last = world.proxied().ask("GET", f"{url}/dump", headers={"Range": "bytes=-5"})
    assert last.body == whole.body[-5:]
    beyond = world.proxied().ask("GET", f"{url}/dump", headers={"Range": "bytes=99999999-"})
    assert beyond.code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole.body)}"
    stale = {"Range": "bytes=10-19", "If-Range": '"other"'}
    assert world.proxied().ask("GET", f"{url}/dump", headers=stale).code == 200


def test_what_the_client_has_is_304_and_head_has_no_body(world, url):
    head = world.proxied().ask("HEAD", f"{url}/dump")
    assert (head.code, head.body) == (200, b"")
    tag = head.headers["ETag"]
    again = world.proxied().ask("GET", f"{url}/dump", headers={"If-None-Match": tag})
    assert (again.code, again.body) == (304, b"")
    whole = world.proxied().ask("GET", f"{url}/dump")
    assert int(head.headers["Content-Length"]) == len(whole.body)


def test_a_download_is_audited_with_its_bytes(world, url):
    reply = world.proxied("reader").ask("GET", f"{url}/dump", headers={"Audit-Id": "dl-1"})
    entry = world.server.audited("dl-1")
    assert (entry["user"], entry["bytes"]) == ("reader", len(reply.body))
    assert (entry["subresource"], entry["outcome"]) == ("dump", "complete")


def test_a_dump_deleted_while_it_is_read_is_sent_whole_and_the_next_is_cut(world):
    uid, place = "0a1b2c3d-dead", servers.BASE + "/namespaces/team-b/coredumpendpoints"
    for number in (1, 2):
        core = os.urandom(12_000_000)  # more than sockets buffer, so it is still being read
        made = dumps.make(core, namespace="team-b", pod_uid=uid, pid=number)
        world.store.commit(*made)
    client = world.proxied("unlucky")
    client.ask("POST", place, {"metadata": {"name": "web-0"}, "spec": {"podUID": uid}})
    whole = client.ask("GET", f"{place}/web-0/dump").body
    with contextlib.closing(client.connect()) as connection:
        connection.request("GET", f"{place}/web-0/dump", headers=client.headers)
        answer = connection.getresponse()
        received = answer.read(100_000)
        for key in list(world.store.list(layout.Prefix("team-b", uid))):
            world.store.delete(key)
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
    client.ask("DELETE", f"{place}/web-0")
    received += cut.value.partial
    assert whole.startswith(received)
    assert 12_000_000 < len(received) < 24_000_000
