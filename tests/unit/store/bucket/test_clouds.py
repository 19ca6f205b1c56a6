from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.settings import file
from coredumpd.store import engines as stores
from coredumpd.store.bucket import clouds, engine


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")


@pytest.mark.parametrize(
    "url",
    [
        "s3://b",  # too short
        "s3://Upper/p",
        "s3://user:pass@bucket/p",
        "s3://bucket/p?x=1",
        "s3://bucket/../p",
        "s3://bucket/a//b",
        "s3://bucket:80/p",
        "gs:///p",
        "http://bucket/p",
    ],
)
def test_a_bucket_url_that_is_none_is_refused_with_the_rule(url):
    with pytest.raises(errors.SettingsError, match="s3://BUCKET/PREFIX"):
        stores.open_store(url)
    with pytest.raises(errors.SettingsError, match=r"agent\.store"):
        file.check({"agent": {"store": url}})


@pytest.mark.parametrize("url", ["s3://cores", "s3://cores/a/b", "gs://cores/x", "az://cores/x/"])
def test_a_bucket_url_opens_without_a_request(url, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aGVsbG8=")
    assert url.rstrip("/") in repr(stores.open_store(url)).replace("/'", "'")


@pytest.mark.parametrize(
    ("url", "values", "field"),
    [
        ("s3://cores", {"sseKMSKeyID": "k"}, "bucket.sseKMSKeyID"),
        ("gs://cores", {"region": "eu"}, "bucket.region"),
        ("az://cores", {"sse": "AES256"}, "bucket.sse"),
        ("s3://cores", {"account": "a"}, "bucket.account"),
        ("s3://cores", {"caFile": "/no/such.pem"}, "bucket.caFile"),
    ],
)
def test_settings_that_contradict_are_refused_naming_the_field(url, values, field):
    with pytest.raises(errors.SettingsError, match=field):
        stores.open_store(url, file.check({"bucket": values}).bucket)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "ftp://x"),
        ("endpoint", "http://u:p@host"),
        ("sse", "rot13"),
        ("pathStyle", "yes"),
        ("caFile", "relative.pem"),
    ],
)
def test_a_bad_value_names_field_value_and_rule(field, value):
    with pytest.raises(errors.SettingsError, match=rf"bucket\.{field}: '{value}': must be"):
        file.check({"bucket": {field: value}})


def test_an_azure_store_without_an_account_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(errors.SettingsError, match=r"(?i)account"):
        stores.open_store("az://cores/x")


def test_nobody_answering_is_a_storage_error_without_a_secret():
    settings = file.check({"bucket": {"endpoint": "http://127.0.0.1:1"}}).bucket
    clients = clouds.connect("s3://cores/p", settings, retries_max=0)
    with pytest.raises(errors.StorageError, match=r"s3://cores/p") as caught:
        list(engine.BucketStore("s3://cores/p", *clients).list())
    assert "hunter2" not in str(caught.value)
    assert "Debug source" not in str(caught.value)


def test_a_signature_in_a_query_never_reaches_a_message():
    error = clouds.exceptions.GenericError(
        "GET https://h/c/k?sig=s3cret&se=1 failed\n\nDebug source: x"
    )
    with pytest.raises(errors.StorageError) as caught, clouds.translated("az://c", None):
        raise error
    assert "s3cret" not in str(caught.value)
