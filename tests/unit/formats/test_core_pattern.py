from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coredumpd import errors
from coredumpd.formats import core_pattern

WORDS = ["4242", "1", "4243", "2", "1000", "1000", "11", "1700000000", "0", "1", "3"]


def test_the_pattern_fits_the_kernel_and_names_every_field_once() -> None:
    line = core_pattern.render("/home/kubernetes/bin/coredumpd-node/current/coredumpd")
    assert line.startswith("|/home/kubernetes/bin/coredumpd-node/current/coredumpd handle %P ")
    assert len(line) <= core_pattern.CORE_PATTERN_BYTES_MAX
    assert line.split()[2:] == [specifier for _, specifier, *_ in core_pattern.FIELDS]


@pytest.mark.parametrize("specifier", ["%h", "%e", "%E", "%f"])
def test_no_text_that_a_process_chooses_stands_in_the_pattern(specifier: str) -> None:
    assert specifier not in core_pattern.render("/x/coredumpd")


@pytest.mark.parametrize("path", ["coredumpd", "/a b/coredumpd", "/%p/coredumpd", "/" + "x" * 127])
def test_a_path_that_cannot_stand_in_core_pattern_is_refused(path: str) -> None:
    with pytest.raises(errors.SettingsError, match="core_pattern"):
        core_pattern.render(path)


def test_the_words_the_kernel_writes_are_read_back_by_name() -> None:
    args = core_pattern.parse(WORDS)
    assert (args.pid, args.ns_pid, args.tid, args.ns_tid) == (4242, 1, 4243, 2)
    assert (args.signal, args.rlimit_core, args.dump_mode, args.pidfd) == (11, 0, 1, 3)


@pytest.mark.parametrize("words", [WORDS[:-1], [*WORDS[:-1], ""]])
def test_an_old_kernel_without_pidfd_is_understood(words: list[str]) -> None:
    assert core_pattern.parse(words).pidfd is None


@pytest.mark.parametrize("word", ["", "-1", "1e3", "0x1", "\u0661", "1 ", "9" * 5000])
def test_a_word_that_is_no_number_is_refused_by_name(word: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        core_pattern.parse([word, *WORDS[1:]])
    assert [cause.field for cause in caught.value.causes] == ["pid"]


def test_every_wrong_word_is_named_at_once() -> None:
    with pytest.raises(errors.UsageError) as caught:
        core_pattern.parse(["x", *WORDS[1:], "extra"])
    assert [cause.field for cause in caught.value.causes] == ["handle", "pid"]


def test_missing_words_are_named() -> None:
    with pytest.raises(errors.UsageError, match="dump_mode"):
        core_pattern.parse(WORDS[:9])


@given(st.lists(st.text(max_size=30), max_size=14))
def test_any_words_are_numbers_within_their_bounds_or_refused(words: list[str]) -> None:
    try:
        args = core_pattern.parse(words)
    except errors.UsageError:
        return
    for name, _, largest, _ in core_pattern.FIELDS:
        value = getattr(args, name)
        assert value is None or 0 <= value <= largest


@given(st.text(max_size=130))
def test_a_socket_path_that_cannot_stand_in_core_pattern_is_refused(host_dir: str) -> None:
    try:
        line = core_pattern.render_socket(host_dir)
    except errors.SettingsError:
        return
    assert line.startswith("@@/")
    assert len(line.encode()) <= core_pattern.CORE_PATTERN_BYTES_MAX
    assert not set(" %") & set(line)
    assert ".." not in line
