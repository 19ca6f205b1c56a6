"""How tenants share what a node has for captures: slots, bytes and entries of the spool. Pure.

A tenant is a namespace; of slots, a pod as well. A quarter is everybody's. Of slots, who is alone
has more, as long as it leaves as many free: so a storm of one pod uses what nobody else does, and a
tenant that takes all it can get does not keep a capture from its neighbours. Pods whose namespace
is not known are one tenant together, as are the processes in no pod.
"""

from __future__ import annotations

SHARE = 4  # a tenant's part is one of so many


class Holder:
    """A process that holds a slot, by its namespace and its pod's uid."""

    __slots__ = ("namespace", "pod_uid")

    def __init__(self, namespace: str, pod_uid: str) -> None:
        self.namespace = namespace
        self.pod_uid = pod_uid


def refusal(asking: Holder, holders: list[Holder], slots: int) -> str | None:
    """Why `asking` gets none of `slots` slots beside the `holders` of others; None: it gets one.

    Beyond its share it gets only what leaves as many free as it then has. The last slot goes to a
    namespace that holds none.
    """
    free = slots - len(holders)
    if free <= 0:
        return f"all {slots} slots are taken"
    share = max(1, slots // SHARE)
    of_pod = sum(holder.pod_uid == asking.pod_uid for holder in holders)
    own = sum(holder.namespace == asking.namespace for holder in holders)
    if own >= share and own >= free - 1:
        whose = "pod" if of_pod >= share else "namespace"
        return f"its {whose} has its share, {share} of {slots} slots, and others need what is free"
    if own and free == 1:
        return f"the last of {slots} slots is for a namespace that has none"
    return None


def allowance(total: int, others: int) -> int:
    """The most that one tenant may have of `total` bytes or entries, of which others have `others`.

    A quarter; never more than half of what others leave, so that something is always left for one
    more. Two tenants with all they can get do not make a third one's allowance smaller.
    """
    return max(0, min(total // SHARE, (total - others) // 2))


def may_enter(total: int, others: int, own: int) -> bool:
    """May a tenant with `own` entries have one more? The last is for whoever has none."""
    return own + others < total and own < max(1, allowance(total, others))
