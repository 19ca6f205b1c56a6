from __future__ import annotations

import dataclasses
import errno
import os
from typing import Any

import pytest

from coredumpd.agent.selftest import causes, diagnosis
from coredumpd.agent.selftest.diagnosis import Facts

BROKEN = Facts("/var/lib/coredumpd", "pipe")
NO_SPACE = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"passed": True}, causes.PASSED),
        ({"passed": True, "full": True}, causes.FULL),
        ({"problem": "3 dumps wait in the spool (spoolMaxEntries)"}, causes.FULL),
        ({"problem": f"cannot write meta.json: {NO_SPACE}"}, causes.FULL),
        ({"problem": "cannot make x: Read-only file system"}, causes.READ_ONLY),
        ({"problem": "it rains"}, causes.HANDLER),
        ({"problem": "Too many open files", "begun": False}, causes.GUARD),
        ({"problem": "Read-only file system", "begun": False}, causes.READ_ONLY),
        ({"kernel": "over core_pipe_limit, skipping core dump"}, causes.BUSY),
        ({"kernel": "Coredump socket /x queue full", "mode": "socket"}, causes.BUSY),
        ({"kernel": "Coredump socket connection /x failed -111"}, causes.LISTENER),
        ({"consumed": None}, causes.HANGS),
        ({"hidden": True, "start": "No such file or directory"}, causes.HIDDEN),
        ({"noexec": True, "start": "Permission denied"}, causes.NOEXEC),
        ({"start": "GLIBC_2.36 not found", "consumed": True}, causes.LOADER),
        ({"start": "No such file or directory", "nested": True}, causes.LOADER),
        ({"nested": True}, causes.NESTED),
        ({"nested": True, "consumed": True}, causes.NESTED),
        ({"consumed": True}, causes.KILLED),
        ({"consumed": True, "selinux_label": "x"}, causes.KILLED),
        ({"static_helper": "", "selinux_label": "x"}, causes.STATIC_HELPER),
        ({"static_helper": "", "mode": "socket"}, causes.UNKNOWN),
        ({"selinux_label": ""}, causes.SELINUX),
        ({"kernel": "|/ours pipe failed"}, causes.UNKNOWN),
    ],
    ids=str,
)
def test_a_cause_is_named_from_the_certain_to_the_likely(
    facts: dict[str, Any], cause: causes.Cause
) -> None:
    assert diagnosis.cause_of(dataclasses.replace(BROKEN, **facts)) is cause


def test_every_cause_has_a_sentence_of_its_own_and_a_remedy_unless_there_is_nothing_to_do() -> None:
    for cause in causes.CAUSES:
        text = diagnosis.sentence(cause, BROKEN)
        assert "{" not in text
        assert bool(cause.remedy) is (cause is not causes.PASSED)
    assert len({cause.name for cause in causes.CAUSES}) == len(causes.CAUSES)


def test_only_a_node_that_captures_or_is_busy_does_not_fail() -> None:
    well = {cause.name for cause in causes.CAUSES if not cause.fails}
    assert well == {"passed", "spool-full", "busy"}


def test_what_a_label_or_a_static_helper_says_stands_in_the_sentence() -> None:
    facts = dataclasses.replace(BROKEN, static_helper="/sbin/x", selinux_label="u:r:var_lib_t")
    assert "(path '/sbin/x')" in diagnosis.sentence(causes.STATIC_HELPER, facts)
    assert "whose label is 'u:r:var_lib_t'" in diagnosis.sentence(causes.SELINUX, facts)
