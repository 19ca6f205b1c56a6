from __future__ import annotations

import re

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.formats import record as records
from coredumpd.formats import upload


def test_a_path_is_parsed_into_the_key_it_was_made_of():
    key = dumps.make()[0]
    match = re.fullmatch(upload.ROUTE, upload.path(key))
    assert match is not None
    assert upload.parse_key(match.groupdict()) == key


def test_a_path_that_leaves_the_store_is_refused():
    match = re.fullmatch(upload.ROUTE, "/agent/v1/dumps/../x/app/id")
    assert match is not None
    with pytest.raises(errors.Invalid, match="namespace"):
        upload.parse_key(match.groupdict())


def test_a_body_is_parsed_into_the_record_and_the_core_it_was_made_of():
    _, record, core = dumps.make()
    body = upload.head(record) + core.getvalue()
    parsed, length = upload.parse_head(body)
    assert parsed.raw == record.raw
    assert body[length:] == core.getvalue()


def test_a_head_is_awaited_to_its_last_byte():
    head = upload.head(dumps.crash())
    for length in (0, 3, 4, len(head) - 1):
        assert upload.parse_head(head[:length]) is None
    assert upload.parse_head(head) is not None


@pytest.mark.parametrize(
    "body", [b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\5hello"], ids=["long", "empty", "text"]
)
def test_a_head_without_a_record_is_refused(body):
    with pytest.raises(errors.BadRecord):
        upload.parse_head(body)


def test_an_answer_tells_the_core_that_the_store_has():
    record = dumps.crash().with_core(storedCrc32="0badcafe")
    answer = upload.parse_answer(upload.answer(record))
    assert answer.stored_crc32 == "0badcafe"
    assert answer.has_core_of(record)
    assert not answer.has_core_of(record.with_core(crc32="00000000"))


def test_an_answer_before_the_commit_has_no_crc_of_the_stored_bytes():
    assert upload.parse_answer(upload.answer(dumps.crash())).stored_crc32 is None


@pytest.mark.parametrize("document", [{}, {"size": 1}, {"size": "1", "crc32": "0"}])
def test_an_answer_without_a_core_is_refused(document):
    with pytest.raises(ValueError, match="no core"):
        upload.parse_answer(document)


def test_the_longest_record_still_has_a_head():
    record = dumps.crash()
    room = records.RECORD_BYTES_MAX - len(record.with_(note="").encode())
    parsed, _ = upload.parse_head(upload.head(record.with_(note="x" * room)))
    assert len(parsed.encode()) == records.RECORD_BYTES_MAX


def test_a_dump_that_the_server_cut_says_so_in_its_answer():
    _, record, _ = dumps.make(b"core")
    sealed = record.with_core(sealed={"size": 1, "crc32": "0" * 8}, storedCrc32="0" * 8)
    cut = upload.cut(sealed)
    assert (cut.size, cut.stored_size, cut.truncated) == (0, len(upload.NO_CORE), True)
    assert cut.sealed is None
    assert records.CrashRecord.parse(cut.encode()).key() == record.key()
    assert upload.parse_answer(upload.answer(cut)).is_cut
    assert not upload.parse_answer(upload.answer(record)).is_cut
