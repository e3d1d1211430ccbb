"""Timing of calls, to compare the latency of models."""

import statistics
import time
from collections.abc import Callable


def median_ms(
    call: Callable[[int], object], calls: int, warm_up: int = 5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the median milliseconds of `call(0)`, `call(1)`, ... after some untimed calls.

    Args:
        call: Function to time; called with a number below `calls`.
        calls: Number of timed calls.
        warm_up: Number of untimed calls before them.
        clock: Returns the time in seconds.
    """
    for at in range(warm_up):
        call(at % calls)
    found = []
    for at in range(calls):
        started = clock()
        call(at)
        found.append(clock() - started)
    return statistics.median(found) * 1000
