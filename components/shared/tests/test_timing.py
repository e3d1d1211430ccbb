"""The median time of calls."""

import pytest

from components.shared.tuning.timing import median_ms


def test_a_few_slow_calls_and_the_warm_up_do_not_count():
    asked: list[int] = []
    now = 0.0

    def call(at: int) -> None:
        nonlocal now
        asked.append(at)
        now += 0.05 if len(asked) <= 3 or at == 0 else 0.004

    assert median_ms(call, calls=7, warm_up=3, clock=lambda: now) == pytest.approx(4.0)
    assert asked == [0, 1, 2, *range(7)]
