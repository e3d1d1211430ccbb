"""Bootstrap intervals: zero for equal methods, and the normal interval for a known difference."""

import numpy as np
import pytest
from scipy import stats

from components.shared.evaluation import bootstrap
from components.shared.evaluation.bootstrap import BootstrapConfig, intervals

CONFIG = BootstrapConfig(resamples=2_000, seed=3)


def test_equal_methods_differ_by_exactly_zero():
    values = np.random.default_rng(0).random((200, 1))
    found = intervals(values - values, CONFIG)[0]
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_interval_of_two_equally_good_methods_contains_zero():
    random = np.random.default_rng(1)
    found = intervals(random.normal(0.0, 0.2, (400, 1)) - random.normal(0.0, 0.2, (400, 1)), CONFIG)[0]
    assert found.low < 0 < found.high


def test_interval_of_a_known_difference_matches_the_normal_interval():
    random = np.random.default_rng(2)
    values = random.normal(0.05, 0.2, (1_000, 1))
    found = intervals(values, CONFIG)[0]
    low, high = stats.norm.interval(0.95, values.mean(), values.std() / np.sqrt(len(values)))
    assert found.mean == pytest.approx(values.mean())
    assert 0 < found.low < found.high
    assert found.low == pytest.approx(low, abs=0.002)
    assert found.high == pytest.approx(high, abs=0.002)


def test_columns_share_resamples_that_depend_on_the_seed():
    values = np.random.default_rng(4).random((60, 2))
    one, other = intervals(np.c_[values, values], CONFIG)[:2], intervals(np.c_[values, values], CONFIG)[2:]
    assert one == other
    again = intervals(values, BootstrapConfig(resamples=2_000, seed=4))
    assert one != again


def test_resampling_in_parts_gives_the_same_intervals(monkeypatch):
    values = np.random.default_rng(5).random((50, 3))
    whole = intervals(values, CONFIG)
    monkeypatch.setattr(bootstrap, "_CELLS", 50 * 7)
    assert intervals(values, CONFIG) == whole


def test_interval_without_shoppers_is_empty():
    found = intervals(np.zeros((0, 2)), CONFIG)
    assert found[0].to_json() == {"mean": None, "low": None, "high": None}


def test_ninety_five_percent_of_the_intervals_contain_the_true_difference():
    """Skewed differences of 80 queries, most of them zero, as those of two searches are."""
    random, config, true = np.random.default_rng(6), BootstrapConfig(resamples=800, seed=7), 0.4 * 0.05
    changed = random.random((80, 400)) < 0.4
    values = np.where(changed, random.normal(0.05, 0.25, (80, 400)), 0.0)
    contained = np.mean([found.low <= true <= found.high for found in intervals(values, config)])
    assert 0.91 <= contained <= 0.98
