"""May they: SubjectAccessReview for every request, so RBAC, ABAC and webhooks all govern.

A yes and a no are kept for 10 s; a failure to ask is 503 and is not kept: never a yes, and
over as soon as Kubernetes answers again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from coredumpd import errors
from coredumpd.apiserver.auth import interface

CACHE_S = 10.0
REVIEW_TIMEOUT_S = 5.0
_DECISIONS_MAX = 10_000


class SubjectAccessReviews:
    """Decisions by Kubernetes. One question at a time per (caller, attributes)."""

    def __init__(self, kube: interface.Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._decisions: OrderedDict[
            tuple[interface.Caller, interface.Attributes], tuple[float, bool, str]
        ] = OrderedDict()
        self._asked: dict[
            tuple[interface.Caller, interface.Attributes], asyncio.Task[tuple[bool, str]]
        ] = {}

    async def check(self, caller: interface.Caller, attributes: interface.Attributes) -> None:
        """See `Authorizer`."""
        key = (caller, attributes)
        until, allowed, why = self._decisions.get(key, (0.0, False, ""))
        if self._clock() >= until:
            allowed, why = await self._decide(key)
        if not allowed:
            sentence = attributes.sentence(caller.user)
            raise errors.Forbidden(f"{sentence}: {why}" if why else sentence)

    async def _decide(self, key: tuple[interface.Caller, interface.Attributes]) -> tuple[bool, str]:
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(*key))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)  # a client that leaves must not fail the others

    async def _ask(
        self, caller: interface.Caller, attributes: interface.Attributes
    ) -> tuple[bool, str]:
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        try:
            _, answer = await self._kube.request(
                "POST", path, review(caller, attributes), timeout_s=REVIEW_TIMEOUT_S
            )
            status = answer["status"]
            allowed = status["allowed"] is True and status.get("denied") is not True
            why = str(status.get("reason") or "")
            if not allowed and status.get("evaluationError"):
                why = why or str(status["evaluationError"])
        except errors.CoredumpdError as error:
            raise errors.Unavailable(f"whether you may cannot be asked: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.Unavailable("the SubjectAccessReview's answer makes no sense") from error
        key = (caller, attributes)
        self._decisions[key] = (self._clock() + CACHE_S, allowed, why)
        self._decisions.move_to_end(key)
        while len(self._decisions) > _DECISIONS_MAX:
            self._decisions.popitem(last=False)
        return allowed, why


def review(caller: interface.Caller, attributes: interface.Attributes) -> dict[str, object]:
    """The SubjectAccessReview that asks whether `caller` may."""
    spec: dict[str, object] = {"user": caller.user, "groups": list(caller.groups)}
    if caller.uid:
        spec["uid"] = caller.uid
    if caller.extra:
        spec["extra"] = {key: list(values) for key, values in caller.extra}
    if attributes.path:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    else:
        fields = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        asked = {field: getattr(attributes, field) for field in fields}
        spec["resourceAttributes"] = {field: value for field, value in asked.items() if value}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
