"""Authentication: the front proxy, a client certificate or a bearer token; else Unauthorized.

The order and the rules are those of k8s.io/apiserver's delegating authenticator. The headers
that name a user are read only on a connection that has proved to be kube-apiserver's.
"""

from __future__ import annotations

import datetime
import hashlib
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coredumpd import cache, errors
from coredumpd.apiserver.auth import certificates, interface
from coredumpd.apiserver.auth import trust as trusts

ANONYMOUS = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
TOKEN_CACHE_S = 10.0
TOKEN_REVIEW_TIMEOUT_S = 5.0
_TOKENS_MAX = 4096
_TOKEN_CHARS_MAX = 16 * 1024


class ClusterAuthenticator:
    """The three ways of a cluster. `trust` gives the current Trust; None until it has been read."""

    def __init__(
        self,
        kube: interface.Kube,
        trust: Callable[[], trusts.Trust | None],
        token_lifetime_s: float = TOKEN_CACHE_S,
    ) -> None:
        self._trust = trust
        self._tokens = TokenReviews(kube, lifetime_s=token_lifetime_s)

    async def authenticate(
        self, headers: interface.Headers, certificate: bytes | None
    ) -> interface.Caller:
        """See `Authenticator`."""
        if certificate is not None:
            trust = self._trust()
            if trust is None:
                raise errors.Unavailable(
                    "cannot check client certificates yet: "
                    f"ConfigMap {trusts.NAMESPACE}/{trusts.NAME} has not been read"
                )
            caller = by_certificate(trust, headers, certificate)
            if caller is not None:
                return caller
        token = bearer_token(headers)
        if token is None:
            raise errors.Unauthorized("the request carries no credentials this server accepts")
        return await self._tokens.review(token)


def by_certificate(
    trust: trusts.Trust,
    headers: interface.Headers,
    certificate: bytes,
    now: datetime.datetime | None = None,
) -> interface.Caller | None:
    """The caller behind a TLS client certificate (DER): the proxied user, or the subject itself."""
    leaf = certificates.load_der(certificate)
    if leaf is None:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    name = certificates.common_name(leaf)
    if certificates.is_client_of(leaf, trust.proxy_cas, now) and (
        not trust.allowed_names or name in trust.allowed_names
    ):
        proxied = by_proxy_headers(trust, headers)
        if proxied is not None:
            return proxied
    if name and certificates.is_client_of(leaf, trust.client_cas, now):
        return interface.Caller(name, groups=(*certificates.organizations(leaf), AUTHENTICATED))
    return None


def by_proxy_headers(trust: trusts.Trust, headers: interface.Headers) -> interface.Caller | None:
    """The user that the front proxy names; None if it names none."""
    user = _first(headers, trust.user_headers)
    if not user:
        return None
    groups = tuple(
        value for name in trust.group_headers for value in headers.get_list(name) if value
    )
    extra: dict[str, list[str]] = {}
    for name, value in headers.get_all():
        for prefix in trust.extra_prefixes:
            if name.lower().startswith(prefix):
                key = urllib.parse.unquote(name[len(prefix) :].lower())
                extra.setdefault(key, []).append(value)
    return interface.Caller(
        user, _first(headers, trust.uid_headers), _with_authenticated(user, groups), _frozen(extra)
    )


def _with_authenticated(user: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """`groups` and system:authenticated, which every authenticated user is in.

    kube-aggregator itself asks for /openapi as "system:aggregator", with no group at all; native
    servers add this one too (k8s.io/apiserver: authentication/group/authenticated_group_adder.go).
    """
    if user == ANONYMOUS or {AUTHENTICATED, UNAUTHENTICATED}.intersection(groups):
        return groups
    return (*groups, AUTHENTICATED)


def bearer_token(headers: interface.Headers) -> str | None:
    """The token of `Authorization: Bearer TOKEN`; None without one."""
    values = headers.get_list("Authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    token = token.strip()
    usable = scheme.lower() == "bearer" and 0 < len(token) <= _TOKEN_CHARS_MAX
    return token if usable else None


class TokenReviews:
    """Checks tokens by TokenReview. An answer is kept for `lifetime_s`, a failure to ask is not."""

    def __init__(
        self,
        kube: interface.Kube,
        clock: Callable[[], float] = time.monotonic,
        lifetime_s: float = TOKEN_CACHE_S,
    ) -> None:
        self._kube = kube
        # By the tokens' hashes; (None,) for a token that is not valid.
        self._callers = cache.expiring(_TOKENS_MAX, lifetime_s, clock)

    async def review(self, token: str) -> interface.Caller:
        """The user of a token. Raises Unauthorized; Unavailable if Kubernetes does not answer."""
        digest = hashlib.sha256(token.encode()).digest()
        answer: tuple[interface.Caller | None] | None = self._callers.get(digest)
        if answer is None:
            answer = (await self._ask(token),)
            self._callers[digest] = answer
        (caller,) = answer
        if caller is None:
            raise errors.Unauthorized("the bearer token is invalid or expired")
        return caller

    async def _ask(self, token: str) -> interface.Caller | None:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        try:
            _, answer = await self._kube.request(
                "POST", path, review, timeout_s=TOKEN_REVIEW_TIMEOUT_S
            )
            status = answer["status"]
            if status.get("authenticated") is not True:
                return None
            return _reviewed(status["user"])
        except errors.CoredumpdError as error:
            raise errors.Unavailable(f"cannot check the bearer token now: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.Unavailable(
                "cannot check the bearer token now: Kubernetes' TokenReview is malformed"
            ) from error


def _reviewed(user: Mapping[str, Any]) -> interface.Caller:
    groups = tuple(str(group) for group in user.get("groups") or ())
    return interface.Caller(
        str(user["username"]), str(user.get("uid") or ""), groups, _frozen(user.get("extra") or {})
    )


def _first(headers: interface.Headers, names: tuple[str, ...]) -> str:
    for name in names:
        for value in headers.get_list(name):
            if value:
                return value
    return ""


def _frozen(extra: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((str(key), tuple(map(str, values))) for key, values in extra.items()))
