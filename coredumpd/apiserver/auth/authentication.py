"""Authentication: the front proxy, a client certificate or a bearer token; else Unauthorized.

The order and the rules are those of k8s.io/apiserver's delegating authenticator. The headers
that name a user are read only on a connection that has proved to be kube-apiserver's.
"""

from __future__ import annotations

import datetime
import hashlib
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        self, headers: interface.Headers, chain: Sequence[bytes]
    ) -> interface.Caller:
        """See `Authenticator`."""
        problem = "the request carries no credentials this server accepts"
        if chain:
            trust = self._trust()
            if trust is None:
                raise errors.NotReady("cannot check client certificates yet")
            try:
                return by_certificate(trust, headers, chain)
            except errors.Unauthorized as error:
                problem = error.message
        token = bearer_token(headers)
        if token is None:
            raise errors.Unauthorized(problem)
        return await self._tokens.review(token)


def by_certificate(
    trust: trusts.Trust,
    headers: interface.Headers,
    chain: Sequence[bytes],
    now: datetime.datetime | None = None,
) -> interface.Caller:
    """The caller behind TLS client certificates: the proxied user, or the subject itself.

    Raises Unauthorized, which says the check that failed: of the proxy's CA if that issued the
    certificate, else of the clients' CA.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        leaf, *intermediates = map(certificates.load_der, chain)
        name, groups = certificates.common_name(leaf), certificates.organizations(leaf)
    except ValueError as error:
        raise errors.Unauthorized("the client certificate cannot be read") from error
    of_proxy = certificates.problem(leaf, intermediates, trust.proxy_cas, now)
    if of_proxy is None and (not trust.allowed_names or name in trust.allowed_names):
        proxied = by_proxy_headers(trust, headers)
        if proxied is not None:
            return proxied
        of_proxy = "the front proxy's request names no user in its headers"
    elif of_proxy is None:
        of_proxy = f"the client certificate's name {name!r} is no allowed name of the front proxy"
    of_client = certificates.problem(leaf, intermediates, trust.client_cas, now)
    if of_client is None and name:
        return interface.Caller(name, groups=(*groups, AUTHENTICATED))
    if of_client is None:
        of_client = "the client certificate names no user: it has no common name"
    raise errors.Unauthorized(of_client if of_proxy == certificates.UNKNOWN else of_proxy)


def by_proxy_headers(trust: trusts.Trust, headers: interface.Headers) -> interface.Caller | None:
    """The user that the front proxy names; None if it names none.

    k8s.io/apiserver takes the first of several lines. kube-apiserver only ever writes one; so a
    second line is somebody else's. Raises Unauthorized for that, and for what is not UTF-8.
    """
    user = _only(headers, trust.user_headers)
    if not user:
        return None
    groups = tuple(
        _utf8(name, value)
        for name in trust.group_headers
        for value in headers.get_list(name)
        if value
    )
    extra: dict[str, list[str]] = {}
    for name, value in headers.get_all():
        for prefix in trust.extra_prefixes:
            if name.lower().startswith(prefix):
                key = _unquoted(name[len(prefix) :].lower())
                extra.setdefault(key, []).append(_utf8(name, value))
    uid = _only(headers, trust.uid_headers)
    return interface.Caller(
        user, uid, _with_authenticated(user, groups), _frozen(extra), proxied=True
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
            raise errors.NotReady("cannot check the bearer token now") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.NotReady("cannot check the bearer token now") from error


def _reviewed(user: Mapping[str, Any]) -> interface.Caller:
    groups = tuple(str(group) for group in user.get("groups") or ())
    return interface.Caller(
        str(user["username"]), str(user.get("uid") or ""), groups, _frozen(user.get("extra") or {})
    )


def _only(headers: interface.Headers, names: tuple[str, ...]) -> str:
    """The value of the first of the headers `names` that is there."""
    for name in names:
        values = headers.get_list(name)
        if len(values) > 1:
            raise errors.Unauthorized(f"the header {name} stands there {len(values)} times")
        if values and values[0]:
            return _utf8(name, values[0])
    return ""


def _utf8(name: str, value: str) -> str:
    """Go sends text as UTF-8, and HTTP libraries of Python read every byte as a character."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError as error:
        raise errors.Unauthorized(f"the header {name} is not UTF-8") from error


def _unquoted(key: str) -> str:
    try:
        return urllib.parse.unquote(key, errors="strict")
    except UnicodeError as error:
        raise errors.Unauthorized("the name of an extra header is not UTF-8") from error


def _frozen(extra: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((str(key), tuple(map(str, values))) for key, values in extra.items()))
