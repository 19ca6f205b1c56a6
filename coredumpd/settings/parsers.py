"""The parsers of settings' values: each takes what YAML gave, and raises ValueError. Pure."""

from __future__ import annotations

import re
import urllib.parse

from coredumpd import units

_PERCENTAGE = re.compile(r"([0-9]{1,2}(\.[0-9]{1,3})?|100)%")
_BUCKET_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_PREFIX_CHARS = _BUCKET_CHARS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


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
    """A store's URL as it is written."""
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
    """An engine's URL as it is written."""
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
    """Where an agent ships to."""
    url = text(value)
    if not url.startswith("https:"):
        return store_url(url)
    parts = urllib.parse.urlsplit(url)
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not parts.hostname or extra or (parts.port is None and ":" in parts.netloc):
        raise ValueError
    return url.rstrip("/")


def account(value: object) -> str:
    """The user name of a service account."""
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


def percentage(value: object) -> str:
    """Up to "100%", with at most three decimals."""
    if not isinstance(value, str) or not _PERCENTAGE.fullmatch(value):
        raise ValueError
    return value
