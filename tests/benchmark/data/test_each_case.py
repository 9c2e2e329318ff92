"""Cases are computed ahead of who takes them, in order, a few at a time."""

import time

import pytest

from ssdg.benchmark.data.each_case import each_case
from ssdg.datasets.base import Case, DataError, Domain


@pytest.mark.parametrize("count", [0, 3, 40])
def test_results_come_in_order_and_a_slow_consumer_is_not_left_behind(count):
    begun, done = [], []

    def compute(case):
        begun.append(case.id)
        if case.id == "2":
            raise DataError("damaged")
        return case.id

    domain = Domain("toy", "test", tuple(Case(str(i), None) for i in range(count)), {}, "", "")
    taken = []
    for case, result in each_case(domain, compute, lambda *step: done.append(step)):
        taken.append(case.id)
        assert str(result) == ("damaged" if case.id == "2" else case.id)
        if case.id in "09":
            time.sleep(0.05)
        assert len(begun) <= len(taken) + 8
    assert taken == [case.id for case in domain.cases]
    assert done == [("toy", i + 1, count) for i in range(count)]
