from __future__ import annotations

import asyncio

import pytest
from tornado import httputil

from coredumpd import errors
from coredumpd.apiserver.auth import authentication, interface, trust

ALICE = {"authenticated": True, "user": {"username": "alice", "uid": "7", "groups": ["g"]}}
TRUST = trust.Trust(
    user_headers=("x-remote-user",),
    uid_headers=("x-remote-uid",),
    group_headers=("x-remote-group",),
    extra_prefixes=("x-remote-extra-",),
)


class Kube:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.reviews = 0

    async def request(self, method, path, body=None, *, timeout_s=0.0):
        self.reviews += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 201, answer


def headers(*lines: tuple[str, str]) -> httputil.HTTPHeaders:
    fields = httputil.HTTPHeaders()
    for name, value in lines:
        fields.add(name, value)
    return fields


def test_a_token_is_reviewed_again_once_its_lifetime_is_over():
    now = [0.0]
    kube = Kube({"status": ALICE}, {"status": {"authenticated": False}})
    tokens = authentication.TokenReviews(kube, lambda: now[0], lifetime_s=3.0)

    async def scenario():
        alice = await tokens.review("t")
        assert alice == interface.Caller("alice", "7", ("g",))
        now[0] = 2.9
        assert await tokens.review("t") == alice
        assert kube.reviews == 1
        now[0] = 3.0
        with pytest.raises(errors.Unauthorized, match="invalid or expired"):
            await tokens.review("t")

    asyncio.run(scenario())


def test_an_invalid_token_is_remembered_too():
    kube = Kube({"status": {"authenticated": False}})
    tokens = authentication.TokenReviews(kube)

    async def scenario():
        for _ in range(2):
            with pytest.raises(errors.Unauthorized):
                await tokens.review("t")

    asyncio.run(scenario())
    assert kube.reviews == 1


@pytest.mark.parametrize(
    "answer", [errors.Unavailable("gone"), {}, {"status": {"authenticated": True}}, None]
)
def test_a_review_that_fails_is_503_and_is_not_remembered(answer):
    tokens = authentication.TokenReviews(Kube(answer, {"status": ALICE}))

    async def scenario():
        with pytest.raises(errors.Unavailable, match="cannot check the bearer token now"):
            await tokens.review("t")
        assert (await tokens.review("t")).user == "alice"

    asyncio.run(scenario())


def test_a_certificate_cannot_be_checked_before_the_cas_are_known():
    authenticator = authentication.ClusterAuthenticator(Kube(), lambda: None)
    with pytest.raises(errors.Unavailable, match="cannot check client certificates yet"):
        asyncio.run(authenticator.authenticate(headers(), [b"certificate"]))


@pytest.mark.parametrize(
    ("chain", "why"),
    [((), "no credentials this server accepts"), ([b"nonsense"], "certificate cannot be read")],
)
def test_a_request_without_credentials_is_unauthorized(chain, why):
    authenticator = authentication.ClusterAuthenticator(Kube(), lambda: TRUST)
    with pytest.raises(errors.Unauthorized, match=why):
        asyncio.run(authenticator.authenticate(headers(("X-Remote-User", "root")), chain))


@pytest.mark.parametrize("name", ["jürgen", "日本", "😀"])
def test_names_from_the_front_proxy_are_utf_8(name):
    sent = name.encode().decode("latin-1")  # as Tornado hands over what Go sends
    caller = authentication.by_proxy_headers(
        TRUST,
        headers(
            ("X-Remote-User", sent),
            ("X-Remote-Uid", sent),
            ("X-Remote-Group", sent),
            ("X-Remote-Extra-K%C3%BChl", sent),
        ),
    )
    assert caller == interface.Caller(
        name, name, (name, "system:authenticated"), (("kühl", (name,)),)
    )
    assert caller.proxied


@pytest.mark.parametrize(
    "line",
    [
        ("X-Remote-User", "j\xfcrgen"),
        ("X-Remote-Uid", "\xff"),
        ("X-Remote-Group", "\xc3"),
        ("X-Remote-Extra-A", "\xc3\x28"),
        ("X-Remote-Extra-A%FF", "x"),
    ],
)
def test_a_name_that_is_not_utf_8_is_refused(line):
    lines = [line] if line[0] == "X-Remote-User" else [("X-Remote-User", "alice"), line]
    with pytest.raises(errors.Unauthorized, match="not UTF-8"):
        authentication.by_proxy_headers(TRUST, headers(*lines))


@pytest.mark.parametrize("name", ["X-Remote-User", "X-Remote-Uid"])
@pytest.mark.parametrize("values", [("alice", "root"), ("", "root"), ("alice", "alice")])
def test_a_second_line_that_names_the_user_is_refused(name, values):
    lines = [(name, value) for value in values]
    if name != "X-Remote-User":
        lines.append(("X-Remote-User", "alice"))
    with pytest.raises(errors.Unauthorized, match="2 times"):
        authentication.by_proxy_headers(TRUST, headers(*lines))


@pytest.mark.parametrize(
    ("lines", "token"),
    [
        ((("Authorization", "Bearer abc"),), "abc"),
        ((("Authorization", "bearer  abc"),), "abc"),
        ((("Authorization", "Basic abc"),), None),
        ((("Authorization", "Bearer"),), None),
        ((("Authorization", "Bearer " + "x" * 20_000),), None),
        ((("Authorization", "Bearer a"), ("Authorization", "Bearer b")), None),
        ((), None),
    ],
)
def test_only_one_bearer_token_of_bounded_length_is_taken(lines, token):
    assert authentication.bearer_token(headers(*lines)) == token


def test_the_front_proxy_names_user_groups_and_extras():
    caller = authentication.by_proxy_headers(
        TRUST,
        headers(
            ("X-Remote-User", "alice"),
            ("X-Remote-Uid", "7"),
            ("X-Remote-Group", "g"),
            ("X-Remote-Group", "h"),
            ("X-Remote-Extra-Example.com%2fscope", "read"),
            ("X-Other", "noise"),
        ),
    )
    assert caller == interface.Caller(
        "alice", "7", ("g", "h", "system:authenticated"), (("example.com/scope", ("read",)),)
    )


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("alice", ("system:authenticated",)),
        ("system:anonymous", ()),
    ],
)
def test_every_user_but_the_anonymous_is_authenticated(user, groups):
    caller = authentication.by_proxy_headers(TRUST, headers(("X-Remote-User", user)))
    assert caller == interface.Caller(user, groups=groups)


def test_a_proxy_that_names_no_user_proves_none():
    assert authentication.by_proxy_headers(TRUST, headers(("X-Remote-Group", "g"))) is None
