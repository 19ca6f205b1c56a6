from __future__ import annotations

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.server.dumps import inventory, selection

APP, SIDE = (inventory.Dump(*dumps.make(container=container)[:2]) for container in ("app", "side"))


def test_dumps_are_selected_by_container_and_by_id() -> None:
    dumps_of_pod = [APP, SIDE]
    assert selection.select(dumps_of_pod, "pod x", None, None) == dumps_of_pod
    assert selection.select(dumps_of_pod, "pod x", "side", None) == [SIDE]
    assert selection.select(dumps_of_pod, "pod x", "app", APP.key.id) == [APP]


@pytest.mark.parametrize(
    ("dumps_of_pod", "container", "id", "message"),
    [
        ([], None, None, "no core dump of pod x is stored"),
        ([APP, SIDE], "other", None, "containers with dumps: app, side"),
        ([APP], None, "other", "no core dump 'other' of pod x"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(dumps_of_pod, container, id, message) -> None:
    with pytest.raises(errors.NotFound, match=message):
        selection.select(dumps_of_pod, "pod x", container, id)
