from __future__ import annotations

import itertools
import time

import pytest

from coredumpd import parallel


def test_answers_come_in_order_whatever_takes_longest():
    def work(item):
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * 2

    assert list(parallel.each(work, range(20), 4)) == [(item, item * 2) for item in range(20)]


def test_only_so_many_are_taken_ahead():
    taken = []
    source = (taken.append(item) or item for item in itertools.count())
    answers = parallel.each(lambda item: item, source, 3)
    next(answers)
    assert len(taken) <= 6
    answers.close()


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        list(parallel.each(lambda item: 1 // item, [1, 0], 2))
