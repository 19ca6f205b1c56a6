from __future__ import annotations

from typing import Any

from support import dumps

from coredumpd import units
from coredumpd.client import info

AN_HOUR_LATER = units.parse_timestamp("2026-01-02T04:04:05Z")


def an_object(**changes: Any) -> dict[str, Any]:
    record = dumps.document(**changes)
    return {"metadata": {"name": record["id"], "namespace": "default"}, "status": record}


def lines(dump: dict[str, Any], **more: Any) -> list[str]:
    return info.page(dump, "#0 main", now_s=AN_HOUR_LATER, **more).splitlines()


def test_facts_that_are_not_known_leave_no_line_and_no_word_behind() -> None:
    known = lines(an_object(owner={"kind": "ReplicaSet", "name": "shop-5d4f"}))
    assert "Owner      ReplicaSet shop-5d4f" in known
    assert "Crashed    2026-01-02T03:04:05.000Z, 1h ago" in known
    page = lines({"metadata": {"name": "x", "namespace": "default"}})
    assert page[:3] == ["Dump       x in namespace default", "", "Backtrace:"]
    assert "None" not in "\n".join(lines(an_object(image=None, kernel=None, node=None)))


def test_a_core_that_is_cut_or_encrypted_says_so() -> None:
    cut = an_object()
    cut["status"]["core"]["truncated"] = {"is": True, "reason": "maxSize", "limit": 4}
    assert any("stored; CUT SHORT: maxSize" in line for line in lines(cut))
    sealed = an_object()
    sealed["status"]["core"]["sealed"] = {"size": 1, "crc32": "0", "to": ["age1xyz"]}
    assert any("encrypted to age1xyz" in line for line in lines(sealed))


def test_a_record_that_counts_crashes_offers_no_download() -> None:
    loop = {"count": 12, "firstTime": "2026-01-02T03:00:00Z", "lastTime": "2026-01-02T03:04:05Z"}
    page = lines(an_object(crashLoop=loop), others=1)
    assert any(line.startswith("Loop       12 crashes, whose cores are not kept") for line in page)
    assert not any("download" in line or line.startswith("Core ") for line in page)
    assert "  coredumpd list -n default web    (this is the newest of 2)" in page


def test_the_way_on_is_in_the_words_of_the_program_that_was_run() -> None:
    page = lines(an_object(), program="kubectl coredump")
    assert f"  kubectl coredump download -n default --id {an_object()['metadata']['name']}" in page


def test_a_line_has_the_crash_and_the_name_to_go_on_with() -> None:
    assert info.line(an_object()) == (
        "2026-01-02T03:04:05.000Z  default/web  app  SIGSEGV  /bin/app  app-20260102t030405z-7-00ff"
    )
