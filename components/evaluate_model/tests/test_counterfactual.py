"""Off-policy estimators on a bandit of known value: unbiased, with valid intervals, and errors for invalid input."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.evaluate_model.counterfactual import Logged, doubly_robust, ips, item_rates, snips
from components.shared.errors import DataError

ACTIONS = 5


def softmax(values):
    raised = np.exp(values - values.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def shop(seed, decisions=2_000):
    """(logged, truth, expected rewards [n, actions], target policy [n, actions], chosen)."""
    random = np.random.default_rng(seed)
    context = random.normal(size=(decisions, 3))
    weights = np.random.default_rng(0).normal(size=(3, ACTIONS))
    click = 1 / (1 + np.exp(2 - context @ weights))
    logging = softmax(context @ np.random.default_rng(1).normal(size=(3, ACTIONS)))
    logging = 0.5 * logging + 0.5 / ACTIONS
    target = softmax(2 * (context @ weights))
    chosen = (random.random((decisions, 1)) > logging.cumsum(1)).sum(1)
    at = np.arange(decisions), chosen
    reward = (random.random(decisions) < click[at]).astype(np.float64)
    return Logged(reward, logging[at], target[at]), float((target * click).sum(1).mean()), click, target, chosen


def expected_of(model, target, chosen):
    return model[np.arange(len(chosen)), chosen], (target * model).sum(1)


def test_estimators_are_unbiased_and_their_intervals_cover_the_truth():
    covered, errors, widths = {}, {}, {}
    for seed in range(100):
        logged, truth, click, target, chosen = shop(seed)
        found = {
            "ips": ips(logged), "snips": snips(logged),
            "dr": doubly_robust(logged, *expected_of(click, target, chosen)),
            "dr, wrong model": doubly_robust(logged, *expected_of(np.full_like(click, 0.3), target, chosen)),
        }  # fmt: skip
        for name, estimate in found.items():
            covered.setdefault(name, []).append(estimate.low <= truth <= estimate.high)
            errors.setdefault(name, []).append(estimate.value - truth)
            widths.setdefault(name, []).append(estimate.standard_error)
    for name in covered:
        assert np.mean(covered[name]) >= 0.88, f"95 % intervals of {name}"
        assert abs(np.mean(errors[name])) < 3.5 * np.std(errors[name]) / 10, f"{name} is biased"
        assert np.std(errors[name]) == pytest.approx(np.mean(widths[name]), rel=0.3), name
    assert np.mean(widths["dr"]) < 0.9 * np.mean(widths["ips"]), "a good model narrows the interval"


def test_logging_policy_as_target_has_its_mean_reward_and_all_samples():
    logged = shop(3)[0]
    same = dataclasses.replace(logged, target=logged.propensity)
    assert ips(same).value == snips(same).value == pytest.approx(logged.reward.mean())
    assert same.effective_samples == pytest.approx(len(logged.reward))


def test_mean_logged_reward_is_biased_for_the_target_policy():
    """The target policy is better than the logging policy, which only the estimators show."""
    logged, truth, *_ = shop(5, 20_000)
    assert abs(logged.reward.mean() - truth) > 0.05 > 10 * abs(ips(logged).value - truth)


def test_clipping_lowers_the_estimate_and_its_spread():
    logged = shop(7)[0]
    assert ips(logged, clip=1.0).value < ips(logged).value
    assert ips(logged, clip=1.0).standard_error < ips(logged).standard_error
    assert ips(logged, clip=1e9) == ips(logged)


probability = st.floats(0.01, 1.0)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float64, n, elements=st.floats(-5, 5)),
            hnp.arrays(np.float64, n, elements=probability),
            hnp.arrays(np.float64, n, elements=probability),
        )
    ),
    st.floats(-3, 3),
)
def test_snips_lies_within_the_rewards_and_follows_a_shift(drawn, shift):
    logged = Logged(*drawn)
    value = snips(logged).value
    assert logged.reward.min() - 1e-9 <= value <= logged.reward.max() + 1e-9
    assert snips(dataclasses.replace(logged, reward=logged.reward + shift)).value == pytest.approx(
        value + shift, abs=1e-6
    )
    assert 1 - 1e-9 <= logged.effective_samples <= len(logged.reward) + 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensity": np.array([0.5, 0.0])}, "propensity of entry 1 is 0.0"),
        ({"propensity": np.array([0.5, np.nan])}, "propensity of entry 1 is nan"),
        ({"target": np.array([1.5, 0.5])}, "target of entry 0 is 1.5"),
        ({"reward": np.array([1.0, np.inf])}, "not finite"),
        ({"reward": np.array([1.0])}, "have \\[1, 2\\] entries"),
    ],
)
def test_invalid_entries_are_named(change, message):
    fine = Logged(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    with pytest.raises(DataError, match=message):
        dataclasses.replace(fine, **change)


def test_target_that_never_chooses_a_logged_item_is_refused():
    with pytest.raises(DataError, match="never chooses a logged item"):
        snips(Logged(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.zeros(2)))


def test_item_rates_are_cross_fitted_and_reduce_the_standard_error():
    """Items differ much and are chosen often, so a model of their rates removes most of the noise."""
    random, rates, n = np.random.default_rng(5), np.array([0.05, 0.5, 0.95]), 4_000
    shown, wanted = random.integers(0, 3, n), random.integers(0, 3, n)
    reward = (random.random(n) < rates[shown]).astype(np.float64)
    logged = Logged(reward, np.full(n, 1 / 3), (shown == wanted).astype(np.float64))
    names = np.array(["a", "b", "c"])
    expected, expected_target = item_rates(names[shown].tolist(), reward, names[wanted].tolist())
    assert expected == pytest.approx(rates[shown], abs=0.05) and expected_target == pytest.approx(
        rates[wanted], abs=0.05
    )
    changed = reward.copy()
    changed[::2] = 1 - changed[::2]
    assert np.array_equal(item_rates(names[shown].tolist(), changed, names[wanted].tolist())[0][::2], expected[::2])
    robust, plain = doubly_robust(logged, expected, expected_target), ips(logged)
    truth = rates[wanted].mean()
    assert robust.low <= truth <= robust.high and robust.standard_error < 0.75 * plain.standard_error
    alone = item_rates(["a"], np.ones(1), ["new"])
    assert alone[0].tolist() == alone[1].tolist() == [0.0], "one decision has no other half to learn from"
