"""Authorization: one SubjectAccessReview per request, so RBAC, ABAC and webhooks all decide.

An answer, yes or no, is kept for 10 s. A failure to ask is 503 and is not kept: it never allows
anything, and is over as soon as Kubernetes answers again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from coredumpd import cache, errors
from coredumpd.apiserver.auth import interface

CACHE_S = 10.0
REVIEW_TIMEOUT_S = 5.0
_DECISIONS_CHARS_MAX = 8 * 1024 * 1024  # callers choose paths and names, and have groups
_DECISION_CHARS_MAX = _DECISIONS_CHARS_MAX // 64
_DECISION_CHARS_MIN = 512  # of an entry with short texts
_Question = tuple[interface.Caller, interface.Attributes]
_Decision = tuple[bool, str]  # allowed, and the reason


class SubjectAccessReviews:
    """Asks Kubernetes. Requests that ask the same at the same time share one review."""

    def __init__(
        self,
        kube: interface.Kube,
        clock: Callable[[], float] = time.monotonic,
        lifetime_s: float = CACHE_S,
    ) -> None:
        self._kube = kube
        self._decisions = cache.expiring_sized(
            _DECISIONS_CHARS_MAX, lifetime_s, lambda kept: kept[1], clock
        )  # question → (decision, size of both)
        self._reviews: dict[_Question, asyncio.Task[_Decision]] = {}

    async def check(self, caller: interface.Caller, attributes: interface.Attributes) -> None:
        """See `Authorizer`."""
        question = (caller, attributes)
        kept: tuple[_Decision, int] | None = self._decisions.get(question)
        allowed, reason = kept[0] if kept else await self._decide(question)
        if not allowed:
            sentence = attributes.sentence(caller.user)
            raise errors.Forbidden(f"{sentence}: {reason}" if reason else sentence)

    async def _decide(self, question: _Question) -> _Decision:
        task = self._reviews.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(*question), name="SubjectAccessReview")
            self._reviews[question] = task
            task.add_done_callback(lambda _: self._reviews.pop(question, None))
        return await asyncio.shield(task)  # a client that leaves must not fail the others

    async def _ask(self, caller: interface.Caller, attributes: interface.Attributes) -> _Decision:
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        try:
            _, answer = await self._kube.request(
                "POST", path, review(caller, attributes), timeout_s=REVIEW_TIMEOUT_S
            )
            status = answer["status"]
            allowed = status["allowed"] is True and status.get("denied") is not True
            reason = str(status.get("reason") or "")
            if not allowed and status.get("evaluationError"):
                reason = reason or str(status["evaluationError"])
        except errors.CoredumpdError as error:
            raise errors.NotReady("cannot check your permissions now") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.NotReady("cannot check your permissions now") from error
        size = _DECISION_CHARS_MIN + len(repr((caller, attributes, reason)))
        if size <= _DECISION_CHARS_MAX:
            self._decisions[caller, attributes] = ((allowed, reason), size)
        return allowed, reason


def review(caller: interface.Caller, attributes: interface.Attributes) -> dict[str, object]:
    """The SubjectAccessReview that asks whether `caller` may do this."""
    spec: dict[str, object] = {"user": caller.user, "groups": list(caller.groups)}
    if caller.uid:
        spec["uid"] = caller.uid
    if caller.extra:
        spec["extra"] = {key: list(values) for key, values in caller.extra}
    if attributes.path:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    else:
        fields = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        values = {field: getattr(attributes, field) for field in fields}
        spec["resourceAttributes"] = {field: value for field, value in values.items() if value}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
