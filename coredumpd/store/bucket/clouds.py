"""Connections to object stores: settings in, `obstore` clients out, its errors translated.

Credentials are never settings. They come from where each cloud's own tools look: the environment
(`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, …), a workload
identity's projected token (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AZURE_FEDERATED_TOKEN_FILE`), or the
machine's metadata service.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from obstore import exceptions
from obstore import store as obstores

from coredumpd import __version__, errors
from coredumpd.settings import sections

Objects = obstores.S3Store | obstores.GCSStore | obstores.AzureStore | obstores.MemoryStore
# One answer takes at most this long. A part of 5 MiB at 35 kB/s, two at once, still arrives; the
# small requests must not let a thread hang as long.
_SMALL_S, _BULK_S = 30, 300
_RETRIES_MAX, _RETRY_S = 3, 30  # hiccups only: an outage is the caller's to wait out
_ERROR_CHARS_MAX = 400
# The answer to a request for an object when it is the bucket that is missing.
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


def connect(url: str, wanted: sections.BucketSettings) -> tuple[Objects, Objects]:
    """Clients of the bucket `url` names, for small requests and for the bytes of cores.

    No request is made yet. Raises SettingsError for a combination that cannot work.
    """
    parts = urllib.parse.urlsplit(url)
    causes = (*wanted.conflicts(), *wanted.conflicts_with(parts.scheme))
    if causes:
        raise errors.SettingsError("the bucket's settings are wrong:", causes)
    prefix = parts.path.strip("/") or None
    options = _client_options(wanted)
    try:
        small = _client(parts.scheme, parts.netloc, prefix, wanted, options, _SMALL_S)
        return small, _client(parts.scheme, parts.netloc, prefix, wanted, options, _BULK_S)
    except exceptions.BaseError as error:
        raise errors.SettingsError(f"the bucket {url}: {_brief(error)}") from error


def _client_options(wanted: sections.BucketSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"user_agent": f"coredumpd/{__version__}", "connect_timeout": "5s"}
    if wanted.endpoint is not None and wanted.endpoint.startswith("http://"):
        options["allow_http"] = True
    if wanted.caFile is not None:
        try:
            with open(wanted.caFile, "rb") as file:
                options["root_certificate"] = file.read()
        except OSError as error:
            cause = errors.Cause("bucket.caFile", wanted.caFile, f"cannot be read: {error}")
            raise errors.SettingsError("the bucket's settings are wrong:", (cause,)) from error
    return options


def _client(
    scheme: str,
    bucket: str,
    prefix: str | None,
    wanted: sections.BucketSettings,
    options: dict[str, Any],
    timeout_s: int,
) -> Objects:
    common: dict[str, Any] = {
        "prefix": prefix,
        "client_options": {**options, "timeout": f"{timeout_s}s"},
        "retry_config": {
            "max_retries": _RETRIES_MAX,
            "retry_timeout": datetime.timedelta(seconds=_RETRY_S),
        },
    }
    match scheme:
        case "s3":
            config: dict[str, Any] = {
                "endpoint": _s3_endpoint(bucket, wanted),
                "region": wanted.region,
                "virtual_hosted_style_request": not wanted.pathStyle,
                "server_side_encryption": wanted.sse,
                "sse_kms_key_id": wanted.sseKMSKeyID,
            }
            return obstores.S3Store(bucket, config=_given(config), **common)
        case "gs":
            return obstores.GCSStore(bucket, config=_given({"base_url": wanted.endpoint}), **common)
        case "az":
            config = {"endpoint": wanted.endpoint, "account_name": wanted.account}
            return obstores.AzureStore(bucket, config=_given(config), **common)
        case _:
            raise AssertionError(scheme)


def _s3_endpoint(bucket: str, wanted: sections.BucketSettings) -> str | None:
    """obstore takes a virtual-hosted endpoint with the bucket in it; people write it without."""
    if wanted.endpoint is None or wanted.pathStyle:
        return wanted.endpoint
    return wanted.endpoint.replace("://", f"://{bucket}.", 1)


def _given(config: dict[str, Any]) -> Any:
    return {name: value for name, value in config.items() if value is not None}


@contextlib.contextmanager
def translated(store: str, key: object | None) -> Iterator[None]:
    """obstore's errors → NotFound or StorageError, naming the store and the key."""
    try:
        yield
    except (OSError, exceptions.BaseError, ValueError) as error:
        if any(sign in str(error) for sign in _NO_BUCKET):
            raise errors.StorageError(f"{store}: there is no such bucket") from error
        if key is not None and missing(error):
            raise errors.NotFound(f"no dump {key}") from error
        where = store if key is None else f"{store}: {key}"
        raise errors.StorageError(f"{where}: {_brief(error)}") from error


def missing(error: Exception) -> bool:
    """Is it the object that is missing, not the bucket?"""
    return isinstance(error, FileNotFoundError) and not any(
        sign in str(error) for sign in _NO_BUCKET
    )


def _brief(error: Exception) -> str:
    """The sentence of an error: no debug dump, no XML but its code, no query (it may be signed)."""
    text = " ".join(str(error).split("\n\nDebug source:")[0].split())
    status = re.search(r"status code: (\d{3}[A-Za-z ]*)", text)
    if status is None:
        return re.sub(r"(https?://[^\s?]*)\?[^\s\"')]*", r"\1?…", text)[:_ERROR_CHARS_MAX]
    code = re.search(r"<Code>(\w{1,64})</Code>", text)
    sentence = f"the store answered {status[1]}" + (f" ({code[1]})" if code else "")
    if status[1][:3] in ("401", "403"):
        sentence += "; credentials come from the environment or the workload's identity"
    return sentence
