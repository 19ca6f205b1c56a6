from __future__ import annotations

from coredumpd.server.dumps import inventory
from coredumpd.server.endpoints import codec

ENDPOINT = {
    "metadata": {"namespace": "team-a", "name": "web-0", "labels": {"a": "é"}},
    "spec": {"podUID": "uid-1"},
}


def test_an_object_survives_being_stored_and_has_the_revision_that_wrote_it() -> None:
    document = codec.decode(codec.encode(ENDPOINT), 7)
    assert document.pop("metadata") == {**ENDPOINT["metadata"], "resourceVersion": "7"}
    assert document == {"spec": ENDPOINT["spec"]}


def test_an_object_names_its_pod_by_name_and_uid() -> None:
    assert codec.pod_of(ENDPOINT) == inventory.Pod("team-a", "web-0", "uid-1")


def test_no_namespaces_keys_begin_with_anothers() -> None:
    prefix = f"{codec.PREFIX}team/"
    assert codec.key("team", "web-0").startswith(prefix)
    assert not codec.key("team-a", "web-0").startswith(prefix)
