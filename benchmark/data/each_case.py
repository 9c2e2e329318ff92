"""Apply a function to every case of a domain, several at once, with a DataError for each unusable case."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeAlias, TypeVar

from ssdg.datasets.base import Case, DataError, Domain

from ..environment import cores

T = TypeVar("T")

OnCase: TypeAlias = Callable[[str, int, int], None]
"""Called with (domain, cases done, cases) after each case."""

CONCURRENT_CASES = 4  # each holds a few copies of its native volume

AHEAD = 2 * CONCURRENT_CASES
"""Cases that are begun before they are asked for: those of a slow writer do not fill the memory."""


def no_report(domain: str, done: int, total: int) -> None:
    """Do nothing after a case."""


def each_case(
    domain: Domain, function: Callable[[Case], T], on_case: OnCase = no_report
) -> Iterator[tuple[Case, T | DataError]]:
    """Yield each case with a function's result, or with its DataError, in the domain's order."""

    def attempt(case: Case) -> T | DataError:
        try:
            return function(case)
        except DataError as error:
            return error

    total = len(domain.cases)
    # Threads suffice: decoding, matrix products and the hole filling release the interpreter's lock.
    pool = ThreadPoolExecutor(min(CONCURRENT_CASES, cores()), thread_name_prefix="prepare")
    begun = (pool.submit(attempt, case) for case in domain.cases)
    ahead = deque(islice(begun, AHEAD))
    try:
        for done, case in enumerate(domain.cases, 1):
            result = ahead.popleft().result()
            ahead.extend(islice(begun, 1))
            on_case(domain.name, done, total)
            yield case, result
    finally:
        pool.shutdown(cancel_futures=True)
