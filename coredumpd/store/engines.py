"""From a URL to the engine of a store."""

from __future__ import annotations

import urllib.parse

from coredumpd import errors
from coredumpd.settings import sections, values
from coredumpd.store import interface


def open_target(
    url: str, bucket: sections.BucketSettings, upload: sections.UploadSettings
) -> interface.Target:
    """As `open`, and `https://HOST:PORT` as well. Raises SettingsError."""
    if not url.startswith("https:"):
        return open_store(url, bucket)
    from coredumpd.store import uploading

    return uploading.UploadTarget(url, upload)


def open_store(url: str, bucket: sections.BucketSettings | None = None) -> interface.Store:
    """The engine for `url`, not touched yet. Raises SettingsError for a URL no engine takes.

    `bucket` says how to reach a bucket; a directory needs nothing.
    """
    try:
        values.store_url(url)
    except ValueError as error:
        cause = errors.Cause("store", url, values.STORE_RULE)
        raise errors.SettingsError("no such kind of store", (cause,)) from error
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        from coredumpd.store.directory import engine

        return engine.DirectoryStore(urllib.parse.unquote(parts.path))
    from coredumpd.store.bucket import clouds
    from coredumpd.store.bucket import engine as engines

    return engines.BucketStore(url, *clouds.connect(url, bucket or sections.BucketSettings()))
