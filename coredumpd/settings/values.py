"""How one value of the configuration is parsed, and the rule that a wrong value breaks."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Callable
from typing import Any

from coredumpd import units

_BUCKET_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_PREFIX_CHARS = _BUCKET_CHARS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

Parser = Callable[[object], Any]


def setting(default: object, parse: Parser, rule: str, doc: str) -> Any:
    """A field: `default` as a user would write it, `parse` raises ValueError, `rule` says why."""
    metadata = {"parse": parse, "rule": rule, "doc": doc, "default": default}
    value = None if default is None else parse(default)
    return dataclasses.field(default=value, metadata=metadata)


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def path(value: object) -> str:
    name = text(value)
    if not name.startswith("/") or "/../" in name + "/" or not name.isprintable():
        raise ValueError
    return name.rstrip("/") or "/"


def paths(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(path(item) for item in value)


def store_url(value: object) -> str:
    """A store's URL as it is written. Raises ValueError, reported as STORE_RULE."""
    url = text(value)
    parts = urllib.parse.urlsplit(url)
    if url.startswith("file:///"):
        return url
    names = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    is_prefix = all(set(name) <= _PREFIX_CHARS and name not in ("", ".", "..") for name in names)
    is_bucket = 3 <= len(parts.netloc) <= 63 and set(parts.netloc) <= _BUCKET_CHARS
    if parts.scheme not in ("s3", "gs", "az") or not is_bucket or not is_prefix or "?" in url:
        raise ValueError
    return url.rstrip("/")


def objects_url(value: object) -> str:
    """An engine's URL as it is written. Raises ValueError, reported as OBJECTS_RULE."""
    url = text(value)
    if url.startswith("sqlite:////"):
        return url
    scheme, _, rest = url.partition("://")
    hosts, _, prefix = rest.partition("/")
    names = prefix.rstrip("/").split("/")
    is_prefix = all(name.strip(".") and set(name) <= _PREFIX_CHARS for name in names)
    if scheme not in ("etcd", "etcd+http") or not is_prefix:
        raise ValueError
    for host in hosts.split(","):
        one = urllib.parse.urlsplit(f"//{host}")
        if not one.hostname or not one.port or set(host) & set("@?#\\") or not host.isprintable():
            raise ValueError
    return url.rstrip("/")


def target_url(value: object) -> str:
    """Where an agent ships to. Raises ValueError, reported as TARGET_RULE."""
    url = text(value)
    if not url.startswith("https:"):
        return store_url(url)
    parts = urllib.parse.urlsplit(url)
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not parts.hostname or extra or (parts.port is None and ":" in parts.netloc):
        raise ValueError
    return url.rstrip("/")


def account(value: object) -> str:
    """The user name of a service account. Raises ValueError, reported as ACCOUNT_RULE."""
    name = text(value)
    words = name.split(":")
    if len(words) != 4 or words[:2] != ["system", "serviceaccount"] or not all(words):
        raise ValueError
    return name


def endpoint(value: object) -> str:
    url = text(value)
    parts = urllib.parse.urlsplit(url)
    extra = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or extra:
        raise ValueError
    return url.rstrip("/")


def positive_duration(value: object) -> float:
    """Seconds of a duration that is not 0. Raises ValueError."""
    seconds = units.parse_duration(value)
    if seconds <= 0:
        raise ValueError
    return seconds


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def one_of(*words: str) -> tuple[Parser, str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return parse, "must be one of " + ", ".join(words)


def integer(least: int, most: int) -> tuple[Parser, str]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return parse, f"must be a whole number from {least} to {most}"


def size_from(least: str) -> tuple[Parser, str]:
    """A size of at least `least`, which is written as a user would write it."""

    def parse(value: object) -> int:
        size = units.parse_quantity(value)
        if size < units.parse_quantity(least):
            raise ValueError
        return size

    return parse, f"{units.QUANTITY_RULE}, and at least {least}"


SIZE = (units.parse_quantity, units.QUANTITY_RULE)
DURATION = (units.parse_duration, units.DURATION_RULE)
POSITIVE_DURATION = (positive_duration, units.DURATION_RULE + ", and more than 0")
PATH = (path, "must be an absolute path without '..'")
STORE_RULE = (
    "must be a URL file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX"
    " or az://CONTAINER/PREFIX, without credentials"
)
STORE = (store_url, STORE_RULE)
TARGET_RULE = f"{STORE_RULE}, or https://HOST:PORT of a coredumpd server"
ACCOUNT_RULE = "must be system:serviceaccount:NAMESPACE:NAME"
OBJECTS_RULE = (
    "must be a URL sqlite:////PATH, or etcd://HOST:PORT,HOST:PORT/PREFIX without credentials"
    " (etcd+http:// without TLS)"
)
