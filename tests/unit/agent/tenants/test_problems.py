from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.kube import kubeevents

from coredumpd.agent import events, metrics
from coredumpd.agent.tenants import problems, rules
from coredumpd.formats import annotations, policy

DEFAULT = annotations.Rules(True, 1024)
POD = rules.Pod("default", "web", "uid-web", None, {})


def decision(*texts: str, denied: int = 0) -> rules.Decision:
    return rules.Decision(policy.Tenants(), [(POD, text) for text in texts], denied)


def reported(*decisions: rules.Decision, namespaces: Any = None) -> tuple[list[Any], Any]:
    """The Events, and the metrics, after these decisions one after the other."""
    api, counters = kubeevents.Api(), metrics.Metrics()

    async def report() -> None:
        one = problems.Problems(events.Events(api, "node1"), counters)
        task = asyncio.create_task(one.run())
        for each in decisions:
            await one.report(each, namespaces or {}, DEFAULT)
            await asyncio.sleep(0)  # the queue has been taken
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(report())
    return list(api.events.values()), counters


def test_a_pods_problem_is_one_event_on_the_pod_however_often_it_is_decided() -> None:
    (event,), _ = reported(decision("max-size: wrong"), decision("max-size: wrong"))
    assert event["involvedObject"]["uid"] == "uid-web"
    assert (event["reason"], event["count"]) == ("CoreDumpPolicy", 1)


def test_a_problem_that_went_away_and_came_back_is_logged_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reported(decision("wrong"), decision(), decision("wrong"))
    assert [record.message for record in caplog.records] == ["pod default/web: wrong"] * 2


def test_more_problems_than_the_queue_holds_wait_for_a_later_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(problems, "PROBLEMS_MAX", 2)
    written, _ = reported(decision("1", "2", "3"))
    assert len(written) == 2
    written, _ = reported(decision("1", "2", "3"), decision("1", "2", "3"))
    assert len(written) == 3


def test_a_namespaces_problem_is_only_logged_because_every_node_has_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = {"default": {"max-size": "2GB"}}
    written, _ = reported(decision(), decision(), namespaces=wrong)
    assert written == []
    (line,) = caplog.messages
    assert line.startswith("namespace default: annotation coredump.fujitsu.com/max-size: '2GB'")


def test_who_has_no_room_is_told_on_the_node_when_that_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written, counters = reported(*[decision(denied=count) for count in (0, 3, 3, 4)])
    assert [event["involvedObject"]["kind"] for event in written] == ["Node"] * 2
    assert "3 pods and the rules of 0 namespaces have no room" in written[0]["message"]
    assert "coredumpd_agent_policy_denied 4.0" in counters.text().decode()
    assert len(caplog.messages) == 2
