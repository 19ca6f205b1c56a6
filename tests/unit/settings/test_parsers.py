from __future__ import annotations

import pytest

from coredumpd.settings import parsers


@pytest.mark.parametrize(
    "url",
    ["file:///srv/cores", "s3://cores", "s3://cores/a/B", "gs://cores/x", "az://container/x"],
)
def test_these_are_stores(url):
    assert parsers.store_url(url) == url
    assert parsers.target_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", None, 7, "/srv", "file:srv", "file://host/srv", "ftp://x/y"),
        *(
            "s3://ab",
            "s3://key:secret@cores",
            "s3://cores/../x",
            "s3://cores/a//b",
            "s3://cores?a=b",
        ),
    ],
)
def test_these_are_no_stores(url):
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parsers.store_url(url)


def test_a_trailing_slash_of_a_bucket_is_dropped():
    assert parsers.store_url("s3://cores/prefix/") == "s3://cores/prefix"


@pytest.mark.parametrize("url", ["https://coredumpd:8443", "https://coredumpd"])
def test_an_agent_may_ship_to_a_server(url):
    assert parsers.target_url(url) == url


@pytest.mark.parametrize(
    "url", ["https://", "https://h/path", "https://h?q", "https://user@h", "https://h:", "http://h"]
)
def test_a_server_is_named_by_host_and_port_alone(url):
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parsers.target_url(url)


@pytest.mark.parametrize(
    "url", ["sqlite:////data/objects.db", "etcd://a:2379,b:2379/coredumpd", "etcd+http://a:1/x/y"]
)
def test_these_are_engines_of_objects(url):
    assert parsers.objects_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite:///relative", "etcd://a/x", "etcd://a:2379", "etcd://a:2379/..", "etcd:///x"),
        *("etcd://user@a:2379/x", "etcd://a:2379?x/y", "http://a:2379/x"),
    ],
)
def test_these_are_no_engines_of_objects(url):
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parsers.objects_url(url)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a/..", "/a\nb", "", None])
def test_a_path_is_absolute_and_goes_down_only(path):
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parsers.path(path)


def test_a_path_has_no_trailing_slash():
    assert parsers.path("/srv/") == "/srv"
    assert parsers.path("/") == "/"


@pytest.mark.parametrize(
    "name", ["agent", "system:serviceaccount:ns:", "system:serviceaccount:a:b:c", "x:y:a:b"]
)
def test_an_account_is_a_service_account(name):
    assert parsers.account("system:serviceaccount:ns:agent") == "system:serviceaccount:ns:agent"
    with pytest.raises(ValueError):  # noqa: PT011 (the rule is the caller's message)
        parsers.account(name)
