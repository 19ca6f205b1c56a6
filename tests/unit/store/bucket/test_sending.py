from __future__ import annotations

import hashlib
import io

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.store.bucket import sending


@pytest.mark.parametrize("size", [1, 5 << 20, (5 << 20) + 1, 10 << 20, (10 << 20) + 77])
def test_the_expected_etag_is_what_s3_gives_such_an_upload(size):
    record = dumps.make()[1].with_core(storedSize=size)
    data = bytes(size)
    upload = sending.CoreUpload(io.BytesIO(data), record)
    assert b"".join(upload) == data
    parts = [data[at : at + upload.part_bytes] for at in range(0, size, upload.part_bytes)]
    if len(parts) == 1:
        expected = hashlib.md5(data).hexdigest()
    else:
        joined = b"".join(hashlib.md5(part).digest() for part in parts)
        expected = f"{hashlib.md5(joined).hexdigest()}-{len(parts)}"
    assert upload.etag == expected


def test_a_core_of_terabytes_still_fits_the_number_of_parts():
    record = dumps.make()[1].with_core(storedSize=5 << 40)
    assert (5 << 40) / sending.CoreUpload(io.BytesIO(), record).part_bytes < 10_000


@pytest.mark.parametrize("data", [b"", b"short", b"longer than its record says"])
def test_a_core_that_is_not_as_long_as_its_record_says_is_refused(data):
    record = dumps.make()[1].with_core(storedSize=9)
    with pytest.raises(errors.BadRecord, match=r"core\.storedSize says 9"):
        sending.CoreUpload(io.BytesIO(data), record).whole()
