"""Anytime-valid evidence: the rate of false alarms over many looks is at most alpha; confidence sequences cover."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.rollout_model.sequential import (
    ABOVE,
    BELOW,
    LOG_PRIOR,
    LOG_RATIOS,
    log_mixture,
    mean_evidence,
    mean_interval,
    rate_evidence,
    ratio_evidence,
    ratio_interval,
)

RUNS, LOOKS, ALPHA = 400, 1_000, 0.05
MOST = int(stats.binom.ppf(0.999, RUNS, ALPHA))
"""Upper bound: a test at exactly ALPHA raises more alarms with a probability of at most 0.001."""


def _rows(random, ratio=1.0):
    """Events and requests of RUNS pairs of versions per look; the error rate and the share vary."""
    for look in range(LOOKS):
        share = 0.05 if look < LOOKS / 3 else 0.5
        rate = 0.02 * (1 + 0.9 * np.sin(look / 40))
        requests = random.poisson(400, RUNS)
        mine = random.binomial(requests, share)
        other = requests - mine
        yield random.binomial(mine, rate * ratio), mine, random.binomial(other, rate), other


def _grid(runs):
    return np.tile(LOG_RATIOS, (runs, 1))


def test_priors_are_distributions():
    for prior in (LOG_PRIOR, ABOVE, BELOW):
        assert np.exp(prior).sum() == pytest.approx(1)
    assert LOG_PRIOR == pytest.approx(LOG_PRIOR[::-1])
    assert np.all(np.diff(LOG_RATIOS) > 0) and LOG_RATIOS[len(LOG_RATIOS) // 2] == 0


def test_equal_versions_raise_false_alarms_at_most_at_the_rate_alpha():
    evidence, worst = np.zeros((RUNS, len(LOG_RATIOS))), np.zeros(RUNS)
    left = np.zeros(RUNS, bool)
    for row in _rows(np.random.default_rng(1)):
        evidence += ratio_evidence(_grid(RUNS), *row)
        worst = np.maximum(worst, log_mixture(evidence, ABOVE))
        low, high = ratio_interval(evidence, ALPHA)
        left |= (low > 0) | (high < 0)
    assert 0 < (worst > np.log(1 / 0.5)).sum(), "the test sees chance at all"
    assert (worst >= np.log(1 / ALPHA)).sum() <= MOST
    assert left.sum() <= MOST


def test_confidence_sequence_covers_a_true_ratio_of_1_5_and_excludes_1():
    evidence, left = np.zeros((RUNS, len(LOG_RATIOS))), np.zeros(RUNS, bool)
    truth = np.log(1.5)
    for row in _rows(np.random.default_rng(2), ratio=1.5):
        evidence += ratio_evidence(_grid(RUNS), *row)
        low, high = ratio_interval(evidence, ALPHA)
        left |= (low > truth) | (high < truth)
    assert left.sum() <= MOST
    assert (low > 0).all() and (high - low).max() < 0.4
    assert (log_mixture(evidence, ABOVE) > np.log(1 / ALPHA)).all()


def test_fixed_rate_raises_false_alarms_at_most_at_the_rate_alpha():
    random = np.random.default_rng(3)
    events, requests, rate = np.zeros(RUNS), np.zeros(RUNS), np.full(RUNS, 0.02)
    above, below = np.zeros(RUNS), np.zeros(RUNS)
    for _ in range(LOOKS):
        requests += 50
        events += random.binomial(50, rate)
        evidence = rate_evidence(LOG_RATIOS, events, requests, rate)
        above = np.maximum(above, log_mixture(evidence, ABOVE))
        below = np.maximum(below, log_mixture(evidence, BELOW))
    assert (above >= np.log(1 / ALPHA)).sum() <= MOST
    assert (below >= np.log(1 / ALPHA)).sum() <= MOST


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize(("rate", "ratio"), [(0.3, 1.0), (0.3, 1.5), (0.01, 3.0), (0.9, 1.05)])
def test_e_value_has_an_expectation_of_at_most_one_at_every_rate(rate, ratio, share):
    """Summed over every possible outcome: the bound is exact, not simulated."""
    mine, other = (2, 38) if share == 0.05 else (20, 20)
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(mine + 1), np.arange(other + 1)))
    chance = stats.binom.pmf(x, mine, rate * ratio) * stats.binom.pmf(y, other, rate)
    ones = np.ones(len(x))
    for alternative in (0.3, 0.9, 1.2, 2.0, 10.0):
        points = np.tile(np.log([alternative, ratio]), (len(x), 1))
        found = ratio_evidence(points, x.astype(float), ones * mine, y.astype(float), ones * other)
        assert (chance * np.exp(found[:, 0] - found[:, 1])).sum() <= 1 + 1e-9


def test_evidence_without_requests_is_zero():
    none = np.zeros(1)
    assert not ratio_evidence(_grid(1), none, none, none, none).any()
    assert ratio_evidence(_grid(1), none, none, np.array([3.0]), np.array([9.0])) == pytest.approx(0)
    assert ratio_evidence(_grid(1), np.array([3.0]), np.array([9.0]), none, none) == pytest.approx(0)


def test_overlaps_raise_false_alarms_at_most_at_the_rate_alpha_and_cover():
    random, alarms, left, runs = np.random.default_rng(4), 0, 0, 200
    for _ in range(runs):
        counts, alarm, outside = Counter(), False, False
        for _ in range(60):
            counts.update((random.binomial(10, random.beta(1.2, 2.8, 20)) / 10).tolist())
            below, above = mean_evidence(counts, 0.3)
            low, high = mean_interval(counts, ALPHA)
            alarm |= max(below, above) >= np.log(2 / ALPHA)
            outside |= not low <= 0.3 <= high
        alarms, left = alarms + alarm, left + outside
    most = stats.binom.ppf(0.999, runs, ALPHA)
    assert alarms <= most and left <= most
    assert high - low < 0.12


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_confidence_sequence_of_constant_values_contains_the_bound(value):
    low, high = mean_interval({value: 5_000}, ALPHA)
    assert low <= value <= high and high - low < 0.05


@given(st.lists(st.sampled_from([number / 10 for number in range(11)]), min_size=1, max_size=50), st.floats(0.05, 0.95))
def test_mean_evidence_is_symmetric_and_favours_at_most_one_side(values, mean):
    """Swapping the outcomes swaps the bets, and at most one of them wins."""
    counts = Counter(values)
    below, above = mean_evidence(counts, mean)
    swapped = Counter({1 - value: times for value, times in counts.items()})
    mirrored = mean_evidence(swapped, 1 - mean)
    assert (below, above) == pytest.approx(mirrored[::-1], abs=1e-6)
    assert min(below, above) <= 1e-9


@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_the_order_of_intervals_does_not_matter(order, seed):
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(6):
        mine, other = random.integers(1, 500, 2)
        row = (random.binomial(mine, 0.1), mine, random.binomial(other, 0.1), other)
        rows.append([np.array([float(value)]) for value in row])
    straight = sum(ratio_evidence(_grid(1), *row) for row in rows)
    mixed = sum(ratio_evidence(_grid(1), *rows[at]) for at in order)
    assert straight == pytest.approx(mixed)
