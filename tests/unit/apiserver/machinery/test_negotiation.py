from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.apiserver.machinery import negotiation

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", ("", "")),
        ("*/*", ("", "")),
        ("application/json", ("", "")),
        (TABLE, ("Table", "v1")),
        (f"{TABLE}, application/json", ("Table", "v1")),
        (f"application/json;q=0.9,{TABLE}", ("Table", "v1")),
        ("application/json;as=Other;v=v1;g=meta.k8s.io,application/json", ("", "")),
        ("application/vnd.kubernetes.protobuf, application/json", ("", "")),
        ("application/*;q=0.1", ("", "")),
    ],
)
def test_the_first_that_can_be_served_is_chosen(accept, chosen):
    assert negotiation.representation(accept, ("Table",)) == chosen


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "application/json;as=Other;v=v1;g=meta.k8s.io", TABLE],
)
def test_what_cannot_be_served_is_not_acceptable(accept):
    with pytest.raises(errors.NotAcceptable, match="none of"):
        negotiation.representation(accept, ())
