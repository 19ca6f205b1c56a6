from __future__ import annotations

import re

from support.node import installed

from coredumpd.formats import event_reasons

ROOT = installed.ROOT
NAMES = {
    value for name, value in vars(event_reasons).items() if name.isupper() and name != "MEANINGS"
}


def documented() -> set[str]:
    """Every reason of an Event that the documentation names."""
    pages = [*ROOT.glob("docs/*.md"), ROOT / "CHANGELOG.md"]
    text = "".join(page.read_text() for page in pages)
    return set(re.findall(r"`(Core(?:Dump|Pattern)[A-Z]\w+|CoreDumps?[A-Z]\w+|CoreDumped)`", text))


def test_every_reason_has_a_meaning_and_kubernetes_accepts_it() -> None:
    assert set(event_reasons.MEANINGS) == NAMES
    assert all(re.fullmatch(r"[A-Z][A-Za-z]{1,127}", reason) for reason in NAMES)


def test_the_documentation_names_every_reason_and_no_other() -> None:
    assert documented() == NAMES


def test_no_module_writes_a_reason_by_itself() -> None:
    own = ROOT / "coredumpd/formats/event_reasons.py"
    for path in ROOT.glob("coredumpd/**/*.py"):
        if path != own:
            text = path.read_text()
            assert not [reason for reason in NAMES if f'"{reason}"' in text], path
