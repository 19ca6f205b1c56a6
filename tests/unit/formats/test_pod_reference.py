from __future__ import annotations

from coredumpd.formats import pod_reference


def test_a_reference_names_the_pod_and_a_container_only_where_there_is_one() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "1"}
    path = "spec.containers{app}"
    assert pod_reference.make("shop", "web-0", "1") == pod
    assert pod_reference.make("shop", "web-0", "1", path) == pod | {"fieldPath": path}
