from __future__ import annotations

import asyncio

import pytest

from coredumpd import errors
from coredumpd.apiserver.auth import authorization, interface

ALICE = interface.Caller("alice", groups=("g",))
GET = interface.Attributes("get", group="g", resource="things", namespace="n", name="x")


class Kube:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def request(self, method, path, body=None, *, timeout_s=0.0):
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 201, {"status": answer}


def test_a_yes_is_kept_for_ten_seconds_and_no_longer():
    now = [0.0]
    kube = Kube({"allowed": True}, {"allowed": False})
    reviews = authorization.SubjectAccessReviews(kube, lambda: now[0])

    async def scenario():
        await reviews.check(ALICE, GET)
        now[0] = 9.9
        await reviews.check(ALICE, GET)
        assert kube.asked == 1
        now[0] = 10.0
        with pytest.raises(errors.Forbidden):
            await reviews.check(ALICE, GET)

    asyncio.run(scenario())


def test_a_failure_is_not_kept():
    kube = Kube(errors.Unavailable("gone"), {"allowed": True})
    reviews = authorization.SubjectAccessReviews(kube)

    async def scenario():
        with pytest.raises(errors.Unavailable):
            await reviews.check(ALICE, GET)
        await reviews.check(ALICE, GET)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "status",
    [{"allowed": False}, {"allowed": "true"}, {"allowed": True, "denied": True}, {"allowed": 1}],
)
def test_only_a_plain_yes_is_a_yes(status):
    async def scenario():
        with pytest.raises(errors.Forbidden):
            await authorization.SubjectAccessReviews(Kube(status)).check(ALICE, GET)

    asyncio.run(scenario())


def test_the_same_question_at_once_is_asked_once():
    kube = Kube({"allowed": True})
    reviews = authorization.SubjectAccessReviews(kube)

    async def scenario():
        await asyncio.gather(*(reviews.check(ALICE, GET) for _ in range(20)))

    asyncio.run(scenario())
    assert kube.asked == 1


def test_somebody_else_is_asked_for_separately():
    kube = Kube({"allowed": True}, {"allowed": False})
    reviews = authorization.SubjectAccessReviews(kube)

    async def scenario():
        await reviews.check(ALICE, GET)
        with pytest.raises(errors.Forbidden):
            await reviews.check(interface.Caller("alice", groups=("h",)), GET)

    asyncio.run(scenario())


def test_the_kept_answers_are_bounded_by_what_callers_chose_to_name():
    kube = Kube(*({"allowed": True} for _ in range(1000)))
    reviews = authorization.SubjectAccessReviews(kube)

    async def scenario():
        for number in range(400):
            path = interface.Attributes("get", path=f"/{number}/" + "x" * 60_000)
            await reviews.check(ALICE, path)
        assert kube.asked == 400
        assert 100 < len(reviews._decisions) < 200  # 8 MiB of characters
        for _ in range(2):
            await reviews.check(ALICE, interface.Attributes("get", path="/" + "x" * 200_000))
        assert kube.asked == 402  # too long to be kept

    asyncio.run(scenario())
