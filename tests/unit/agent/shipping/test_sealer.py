from __future__ import annotations

import asyncio
import gzip
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import dumps, keys
from support.kube import podspecs

from coredumpd import errors, sealing
from coredumpd.agent import events, metrics
from coredumpd.agent.shipping import sealer
from coredumpd.formats import names
from coredumpd.formats import record as records
from coredumpd.spool import entries

NAMESPACE = "/api/v1/namespaces/default"
KEYS = f"{NAMESPACE}/configmaps/coredump-recipients"
SAID = {"encrypt-to": "coredump-recipients"}
OURS = {"namespaceUID": "ns-1"}
PAIR = keys.age()


def not_found(path: str) -> errors.NotFound:
    return errors.NotFound(f"{path} not found")


class Api:
    """Objects by path, or the errors that asking for them raises."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []
        self.posted: list[dict[str, Any]] = []

    async def request(
        self, method: str, path: str, body: object = None, **_: Any
    ) -> tuple[int, Any]:
        if method == "POST":
            assert isinstance(body, dict)
            self.posted.append(body)
            return 201, body
        self.asked.append(path)
        found = self.objects.get(path, not_found(path))
        if isinstance(found, Exception):
            raise found
        return 200, found


class Known:
    """What the watch has told, and the last snapshot."""

    def __init__(self) -> None:
        self.before: dict[str, str] | None = None  # of the last snapshot
        self.said: dict[str, Mapping[str, str]] = {}

    def annotations_of(self, namespace: str, uid: str | None) -> Mapping[str, str] | None:
        return self.said.get(namespace) if uid == "ns-1" else None

    def sealed_before(self, namespace: str, uid: str | None) -> str | None:
        if self.before is None or uid != "ns-1":
            raise errors.Unavailable(f"not known yet whether namespace {namespace} wants it")
        return self.before.get(namespace)


class Node:
    """A spool with one entry, in a namespace that wants it sealed."""

    def __init__(self, directory: Path) -> None:
        self.api, self.known, self.metrics = Api(), Known(), metrics.Metrics()
        teller = events.Events(self.api, "node1")
        self.sealer = sealer.Sealer(self.api, self.known, teller, self.metrics)
        self.path = dumps.spooled(directory / "spool", "app-1", core=b"memory " * 1000, **OURS)
        (self.entry,) = entries.Spool(str(directory / "spool")).entries()
        self.known.said["default"] = SAID
        self.api.objects[NAMESPACE] = podspecs.namespace("default", "ns-1")
        self.recipients(PAIR.recipient)

    def recipients(self, text: str) -> None:
        self.api.objects[KEYS] = {"data": {"recipients": text}}

    def seal(self) -> records.CrashRecord | None:
        return asyncio.run(self.sealer.seal(self.entry, self.entry.record()))

    def refused(self) -> str:
        """Why it has to stay; it is as it was."""
        with pytest.raises(errors.CannotSeal) as caught:
            self.seal()
        assert self.entry.record().sealed is None
        assert sorted(os.listdir(self.path)) == ["core.gz", "meta.json"]
        return str(caught.value)

    def counted(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(f"coredumpd_agent_{name}_total")
        assert value is not None
        return value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def content(node: Node) -> bytes:
    with node.entry.open_core() as core:
        return gzip.decompress(core.read())


def test_a_core_is_sealed_to_whom_the_config_map_names(node: Node) -> None:
    sealed = node.seal()
    assert sealed is not None
    assert sealed.raw == node.entry.record().raw
    assert sealed.sealed is not None
    assert sealed.sealed["to"] == [PAIR.recipient]
    assert sealed.raw["core"]["size"] == 7000
    core = io.BytesIO()
    sealing.open(io.BytesIO(content(node)), core, sealing.identities(PAIR.identity))
    assert gzip.decompress(core.getvalue()) == b"memory " * 1000
    assert node.counted("sealed") == 1


def test_what_is_sealed_already_keeps_its_bytes_whatever_the_keys_are_by_now(node: Node) -> None:
    node.seal()
    before = (node.path / "core.gz").read_bytes()
    node.recipients(keys.age().recipient)
    node.seal()
    assert (node.path / "core.gz").read_bytes() == before


def test_a_namespace_that_does_not_say_so_keeps_plain_cores(node: Node) -> None:
    node.known.said["default"] = {}
    crash = node.seal()
    assert crash is not None
    assert crash.sealed is None
    assert node.api.asked == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "key recipients: 0 recipients; there must be 1 to 20"),
        ("# none yet\n", "key recipients: 0 recipients"),
        (f"{PAIR.recipient}\nage1typo\n", "key recipients: line 2 must be a public key of age"),
        (PAIR.identity.decode(), "key recipients: line 2 is a secret key"),
    ],
)
def test_recipients_that_are_none_keep_the_core_here_and_tell_the_pod(node, text, why):
    node.recipients(text)
    assert why in node.refused()
    (event,) = node.api.posted
    assert event["reason"] == "CoreDumpPolicy"
    assert event["involvedObject"]["uid"] == "1234-5678"
    assert why in event["message"]
    assert "ConfigMap default/coredump-recipients" in event["message"]
    assert event["message"].endswith("stays, not encrypted, on its node")
    node.refused()
    assert len(node.api.posted) == 1  # once is enough
    assert node.counted("seal_failures") == 2


@pytest.mark.parametrize("found", [{}, {"data": None}, {"binaryData": {"recipients": "eA=="}}])
def test_a_config_map_without_the_key_is_as_one_without_recipients(node, found):
    node.api.objects[KEYS] = found
    assert "key recipients: 0 recipients" in node.refused()


def test_a_config_map_that_is_not_there_is_told(node: Node) -> None:
    del node.api.objects[KEYS]
    assert "is not there" in node.refused()
    assert len(node.api.posted) == 1


def test_a_config_map_that_may_not_be_read_is_told_with_the_name_that_may(node: Node) -> None:
    node.api.objects[KEYS] = errors.Forbidden("no")
    assert "only coredump-recipients may" in node.refused()
    assert len(node.api.posted) == 1


def test_a_name_that_no_config_map_has_is_told_and_nothing_is_asked(node: Node) -> None:
    node.known.said["default"] = {"encrypt-to": "../secrets"}
    assert "'../secrets': must be the name of a ConfigMap" in node.refused()
    assert node.api.asked == []


def test_while_the_api_is_away_the_core_waits_and_no_pod_is_told(node: Node) -> None:
    node.api.objects[KEYS] = errors.Unavailable("away")
    assert "cannot be read: away" in node.refused()
    assert node.api.posted == []


def test_of_a_namespace_without_news_the_api_is_asked(node: Node) -> None:
    """It is new, or the agent is."""
    node.known.said = {}
    said = {"encrypt_to": "coredump-recipients"}
    node.api.objects[NAMESPACE] = podspecs.namespace("default", "ns-1", **said)
    sealed = node.seal()
    assert sealed is not None
    assert sealed.sealed is not None


def test_without_any_news_of_namespaces_nothing_is_shipped(node: Node) -> None:
    node.known.said = {}
    node.api.objects[NAMESPACE] = errors.Unavailable("away")
    assert "not known yet whether namespace default wants" in node.refused()


@pytest.mark.parametrize(("before", "wanted"), [({}, False), ({"default": "keys"}, True)])
def test_while_the_api_is_away_the_last_snapshot_says_who_wants_sealing(node, before, wanted):
    node.known.said = {}
    node.known.before = before
    node.api.objects[NAMESPACE] = errors.Unavailable("away")
    node.api.objects[f"{NAMESPACE}/configmaps/keys"] = errors.Unavailable("away")
    if wanted:
        assert "ConfigMap default/keys" in node.refused()
    else:
        assert node.seal().sealed is None


@pytest.mark.parametrize("present", [None, "ns-2"])
@pytest.mark.parametrize("watched", [True, False])
def test_a_core_whose_namespace_is_gone_is_never_sealed_to_who_has_the_name_now(
    node: Node, present: str | None, watched: bool
) -> None:
    """Nor shipped: the collector would remove it at once, were it in the store."""
    del node.api.objects[NAMESPACE]
    if present is not None:
        said = {"encrypt_to": "coredump-recipients"}
        node.api.objects[NAMESPACE] = podspecs.namespace("default", present, **said)
    if not watched:
        node.known.said = {}
    assert node.seal() is None
    assert node.entry.record().sealed is None


def test_a_core_without_a_proven_namespace_is_not_sealed_to_anybody(node: Node) -> None:
    record = node.entry.record().with_(namespaceUID=None)
    assert asyncio.run(node.sealer.seal(node.entry, record)) is None


def test_a_crash_of_the_host_is_nobodys_to_seal(node: Node) -> None:
    crash = node.entry.record()
    crash.raw["namespace"] = names.HOST_NAMESPACE
    assert asyncio.run(node.sealer.seal(node.entry, crash)) is crash


def test_a_damaged_core_is_not_sealed_as_if_it_were_whole(node: Node) -> None:
    data = bytearray((node.path / "core.gz").read_bytes())
    data[len(data) // 2] ^= 1
    (node.path / "core.gz").write_bytes(data)
    with pytest.raises(errors.BadRecord, match="damaged"):
        node.seal()
    assert node.entry.record().sealed is None
    assert sorted(os.listdir(node.path)) == ["core.gz", "meta.json"]
