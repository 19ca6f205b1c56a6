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

from coredumpd import __version__, errors, proxies
from coredumpd.settings import backends

Objects = obstores.S3Store | obstores.GCSStore | obstores.AzureStore | obstores.MemoryStore
# Timeouts of one answer. In 300 s two parts of 5 MiB arrive at 35 kB/s each; a small request must
# not block its thread as long.
_SMALL_S, _BULK_S = 30, 300
RETRIES_MAX, _RETRY_S = 3, 30  # for hiccups; the caller waits out an outage
_ERROR_CHARS_MAX = 400
# Answers to a request for an object when its bucket is missing.
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


def connect(
    url: str, settings: backends.BucketSettings, retries_max: int = RETRIES_MAX
) -> tuple[Objects, Objects]:
    """Two clients of the bucket that `url` names: for small requests, and for the bytes of cores.

    No request is made yet. Raises SettingsError for a combination that cannot work.
    """
    parts = urllib.parse.urlsplit(url)
    causes = (*settings.conflicts(), *settings.conflicts_with(parts.scheme))
    if causes:
        raise errors.SettingsError("the bucket's settings are wrong:", causes)
    client_options = _client_options(settings)
    options = {
        "prefix": parts.path.strip("/") or None,
        "retry_config": {
            "max_retries": retries_max,
            "retry_timeout": datetime.timedelta(seconds=_RETRY_S),
        },
    }
    try:
        small, bulk = (
            _client(
                *(parts.scheme, parts.netloc, settings),
                options | {"client_options": client_options | {"timeout": f"{timeout_s}s"}},
            )
            for timeout_s in (_SMALL_S, _BULK_S)
        )
    except exceptions.BaseError as error:
        raise errors.SettingsError(f"the bucket {url}: {_brief(error)}") from error
    return small, bulk


def _proxy_options(url: str) -> dict[str, Any]:
    """The proxy, and what needs none: also for the requests for credentials that obstore makes."""
    environment = proxies.of_environment()
    proxy = environment.by_scheme.get(urllib.parse.urlsplit(url).scheme)
    if proxy is None:
        return {}
    excluded = ",".join(("localhost", "127.0.0.0/8", "::1", *environment.excluded))
    return {"proxy_url": proxy.whole, "proxy_excludes": excluded}


def _client_options(settings: backends.BucketSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"user_agent": f"coredumpd/{__version__}", "connect_timeout": "5s"}
    if settings.endpoint is not None and settings.endpoint.startswith("http://"):
        options["allow_http"] = True
    options |= _proxy_options(settings.endpoint or "https:")
    if settings.caFile is not None:
        try:
            with open(settings.caFile, "rb") as file:
                options["root_certificate"] = file.read()
        except OSError as error:
            cause = errors.Cause("bucket.caFile", settings.caFile, f"cannot be read: {error}")
            raise errors.SettingsError("the bucket's settings are wrong:", (cause,)) from error
    return options


def _client(
    scheme: str, bucket: str, settings: backends.BucketSettings, options: dict[str, Any]
) -> Objects:
    match scheme:
        case "s3":
            config: dict[str, Any] = {
                "endpoint": _s3_endpoint(bucket, settings),
                "region": settings.region,
                "virtual_hosted_style_request": not settings.pathStyle,
                "server_side_encryption": settings.sse,
                "sse_kms_key_id": settings.sseKMSKeyID,
            }
            return obstores.S3Store(bucket, config=_set_options(config), **options)
        case "gs":
            return obstores.GCSStore(
                bucket, config=_set_options({"base_url": settings.endpoint}), **options
            )
        case "az":
            config = {"endpoint": settings.endpoint, "account_name": settings.account}
            return obstores.AzureStore(bucket, config=_set_options(config), **options)
        case _:
            raise AssertionError(scheme)


def _s3_endpoint(bucket: str, settings: backends.BucketSettings) -> str | None:
    """The endpoint as obstore wants it: with the bucket in a virtual host; people leave it out."""
    if settings.endpoint is None or settings.pathStyle:
        return settings.endpoint
    return settings.endpoint.replace("://", f"://{bucket}.", 1)


def _set_options(config: dict[str, Any]) -> Any:
    return {name: value for name, value in config.items() if value is not None}


@contextlib.contextmanager
def translated(store: str, key: object | None) -> Iterator[None]:
    """Errors of obstore → NotFound or StorageError, naming the store and the key."""
    try:
        yield
    except (OSError, exceptions.BaseError, ValueError) as error:
        if any(phrase in str(error) for phrase in _NO_BUCKET):
            raise errors.StorageError(f"{store}: there is no such bucket") from error
        if key is not None and missing(error):
            raise errors.NotFound(f"no dump {key}") from error
        place = store if key is None else f"{store}: {key}"
        raise errors.StorageError(f"{place}: {_brief(error)}") from error


def missing(error: Exception) -> bool:
    """Is the object missing, and not the bucket?"""
    return isinstance(error, FileNotFoundError) and not any(
        phrase in str(error) for phrase in _NO_BUCKET
    )


def _brief(error: Exception) -> str:
    """One sentence of an error: without debug output, XML and queries, which may be signed."""
    text = " ".join(str(error).split("\n\nDebug source:")[0].split())
    status = re.search(r"status code: (\d{3}[A-Za-z ]*)", text)
    if status is None:
        return re.sub(r"(https?://[^\s?]*)\?[^\s\"')]*", r"\1?…", text)[:_ERROR_CHARS_MAX]
    code = re.search(r"<Code>(\w{1,64})</Code>", text)
    sentence = f"the store answered {status[1]}" + (f" ({code[1]})" if code else "")
    if status[1][:3] in ("401", "403"):
        sentence += "; credentials come from the environment or the workload's identity"
    return sentence
