"""The median time of calls."""

import pytest

from components.shared.tuning.timing import median_ms


def test_median_ignores_the_warm_up_and_a_slow_call():
    numbers: list[int] = []
    now = 0.0

    def call(at: int) -> None:
        nonlocal now
        numbers.append(at)
        now += 0.05 if len(numbers) <= 3 or at == 0 else 0.004

    assert median_ms(call, calls=7, warm_up=3, clock=lambda: now) == pytest.approx(4.0)
    assert numbers == [0, 1, 2, *range(7)]
