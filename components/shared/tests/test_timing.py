"""The median time of calls."""

import time

import pytest

from components.shared.tuning.timing import median_ms


def test_a_few_slow_calls_and_the_warm_up_do_not_count():
    asked: list[int] = []

    def call(at: int) -> None:
        asked.append(at)
        time.sleep(0.05 if len(asked) <= 3 or at == 0 else 0.004)

    assert median_ms(call, calls=7, warm_up=3) == pytest.approx(4.5, abs=1.5)
    assert asked == [0, 1, 2, *range(7)]
