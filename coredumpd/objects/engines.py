"""Opens the engine of API objects that a URL names.

Tested in: tests/contract/objects/test_open.py
"""

from __future__ import annotations

import urllib.parse

from coredumpd import errors
from coredumpd.objects import interface
from coredumpd.settings import backends, parsers, values


def open_engine(url: str, etcd: backends.EtcdSettings | None = None) -> interface.Engine:
    """The engine for `url`; `etcd` holds the settings of one. Raises SettingsError.

    No request is made to etcd yet, so that a server may start before it. The URL is checked here
    too, because `server --standalone` makes it of a directory on its command line.
    """
    try:
        parsers.objects_url(url)
    except ValueError as error:
        cause = errors.Cause("objects", url, values.OBJECTS_RULE)
        raise errors.SettingsError("no such kind of object store", (cause,)) from error
    if url.startswith("sqlite:"):
        from coredumpd.objects import sqlite

        return sqlite.SqliteEngine(urllib.parse.unquote(url.removeprefix("sqlite:///")))
    from coredumpd.objects.etcd import engine

    return engine.open(url, etcd or backends.EtcdSettings())
