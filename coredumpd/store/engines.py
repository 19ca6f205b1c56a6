"""Opens the engine that a store's URL names."""

from __future__ import annotations

import urllib.parse

from coredumpd import errors
from coredumpd.settings import backends, parsers, values
from coredumpd.store import interface


def open_target(
    url: str, bucket: backends.BucketSettings, upload: backends.UploadSettings
) -> interface.Target:
    """As `open_store`, but takes `https://HOST:PORT` as well. Raises SettingsError."""
    if not url.startswith("https:"):
        return open_store(url, bucket)
    from coredumpd.store import uploading

    return uploading.UploadTarget(url, upload)


def open_store(url: str, bucket: backends.BucketSettings | None = None) -> interface.Store:
    """The engine for `url`; no request is made yet. Raises SettingsError for a URL of no engine.

    `bucket` holds the settings of a bucket; a directory needs none. The URL is checked here too,
    because the store tool and `server --standalone` take it from their command lines.
    """
    try:
        parsers.store_url(url)
    except ValueError as error:
        cause = errors.Cause("store", url, values.STORE_RULE)
        raise errors.SettingsError("no such kind of store", (cause,)) from error
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        from coredumpd.store.directory import engine

        return engine.DirectoryStore(urllib.parse.unquote(parts.path))
    from coredumpd.store.bucket import clouds
    from coredumpd.store.bucket import engine as engines

    return engines.BucketStore(url, *clouds.connect(url, bucket or backends.BucketSettings()))
