from __future__ import annotations

import pytest
from support import dumps

from coredumpd.formats import crash_loop, dump_event, policy, upload


def test_a_cut_dump_says_why():
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": "maxSize", "limit": 4}
    assert dump_event.reason_of(crash) == "CoreDumpTruncated"
    assert dump_event.describe(crash).endswith("cut short: maxSize")


def test_a_loop_that_is_only_counted_says_how_often():
    crash = dumps.make()[1]
    fold = crash_loop.Fold((crash_loop.of(crash),), 25)
    counting = crash_loop.counting(crash, fold, crash.raw["time"], 1)
    assert dump_event.reason_of(counting) == "CoreDumpSkipped"
    assert "died of SIGSEGV 25 times more in a crash loop" in dump_event.describe(counting)
    assert dump_event.repeats(counting) == dump_event.repeats(crash)


@pytest.mark.parametrize("reason", [policy.QUOTA_REACHED, upload.QUOTA])
def test_a_core_that_the_quota_refuses_is_named_as_that(reason):
    crash = dumps.crash()
    crash.raw["core"]["truncated"] = {"is": True, "reason": reason, "limit": 0}
    assert dump_event.reason_of(crash) == "CoreDumpQuota"
    assert "its core is not kept" in dump_event.describe(crash)
