"""Milliseconds of a call, for choosing between models that must answer while a shopper waits."""

import statistics
import time
from collections.abc import Callable


def median_ms(
    call: Callable[[int], object], calls: int, warm_up: int = 5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median milliseconds of `call(0)`, `call(1)`, ... after a few that are not counted.

    Args:
        call: Gets a number below `calls`.
        calls: How many are timed.
        warm_up: How many are not, before them.
        clock: Seconds.
    """
    for at in range(warm_up):
        call(at % calls)
    found = []
    for at in range(calls):
        started = clock()
        call(at)
        found.append(clock() - started)
    return statistics.median(found) * 1000
