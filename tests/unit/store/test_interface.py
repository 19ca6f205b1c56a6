from __future__ import annotations

import pytest
from support import dumps

from coredumpd import errors
from coredumpd.store import interface


def test_a_record_of_the_same_core_is_the_same_dump():
    key, record, _ = dumps.make()
    interface.check_same(key, record.with_core(storedCrc32="0badcafe"), record)


@pytest.mark.parametrize("difference", [{"size": 1}, {"crc32": "00000000"}])
def test_a_record_of_another_core_is_another_dump(difference):
    key, record, _ = dumps.make()
    with pytest.raises(errors.AlreadyExists, match=str(key)):
        interface.check_same(key, record.with_core(**difference), record)
