from __future__ import annotations

import pytest
from support import dumps

from coredumpd.store import interface
from coredumpd.storetool import survey

KEY = dumps.make()[0]
PARENT = f"{KEY.namespace}/{KEY.pod_uid}/{KEY.container}"
NOW, DAY = 1_800_000_000.0, 86_400.0


def judged(*paths: str, age_s: float = 2 * DAY) -> list[tuple[str, str]]:
    files = [interface.File(path, 10, NOW - age_s) for path in sorted(paths)]
    findings = [
        finding
        for place in survey.places(files)
        for finding in survey.findings(place, NOW, grace_s=DAY)
    ]
    return [(finding.kind, finding.path) for finding in findings]


def test_a_dump_and_what_stands_beside_it_is_one_place_without_findings():
    assert judged(f"{KEY}/core.gz", f"{KEY}/meta.json", f"{KEY}/backtrace.txt") == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"{KEY}/core.gz", "no-record"),
        (f"{KEY}/meta.json", "no-core"),
        (f"{KEY}/notes.txt", "stray"),
        (f"{PARENT}/.{KEY.id}.0badcafe.part/core.gz", "half-written"),
        (f"{PARENT}/.{KEY.id}.0badcafe.gone/meta.json", "half-deleted"),
        (f"{PARENT}/.{KEY.id}.0badcafe.bad/meta.json", "set-aside"),
        (f"{PARENT}/.hidden/core.gz", "stray"),
    ],
)
def test_a_place_is_judged_by_its_names(path, kind):
    place = path.rsplit("/", 1)[0]
    assert judged(path) == [(kind, place)]


@pytest.mark.parametrize("path", ["readme.txt", "lost+found/", f"{PARENT}/deleted.json"])
def test_what_is_elsewhere_is_stray(path):
    assert judged(path) == [("stray", path)]


@pytest.mark.parametrize("path", [f"{KEY}/core.gz", f"{PARENT}/.{KEY.id}.0badcafe.part/core.gz"])
def test_what_is_young_may_still_be_written(path):
    assert [kind for kind, _ in judged(path, age_s=60)] == ["in-progress"]


def test_a_record_moved_aside_in_a_bucket_is_found_beside_its_dump():
    bad = f"{KEY}/meta.json.0badcafe.bad"
    assert judged(f"{KEY}/core.gz", f"{KEY}/meta.json", bad) == [("set-aside", bad)]


def test_a_leftover_knows_whose_it_was():
    file = interface.File(f"{PARENT}/.{KEY.id}.0badcafe.part/core.gz", 1, NOW)
    (place,) = survey.places([file])
    assert place.key == KEY
    assert not place.is_dump


def test_a_note_about_a_pod_is_no_finding():
    assert judged(f"{KEY.namespace}/{KEY.pod_uid}/.note-deleted.json") == []
