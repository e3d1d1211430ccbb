"""Off-policy estimators of the reward of another policy, from answers with logged propensities.

Sources: Horvitz & Thompson (JASA 1952) for IPS; Swaminathan & Joachims, The Self-Normalized Estimator for
Counterfactual Learning (NIPS 2015) for SNIPS; Dudik, Langford & Li, Doubly Robust Policy Evaluation and Learning
(ICML 2011) for DR; Kong, A Note on Importance Sampling using Standardized Weights (1992) for the effective sample size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from components.shared.errors import DataError


@dataclass(frozen=True)
class Logged:
    """Decisions of the logging policy, one entry each.

    Attributes:
        reward: float64 [n], reward of the decision, such as 1.0 for a click.
        propensity: float64 [n], probability of the decision under the logging policy; above 0.
        target: float64 [n], probability of the same decision under the target policy.
    """

    reward: np.ndarray
    propensity: np.ndarray
    target: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.reward, self.propensity, self.target)}
        if len(lengths) != 1 or not len(self.reward):
            raise DataError(
                f"reward, propensity and target have {sorted(lengths)} entries",
                "give one value of each per decision, at least one",
            )
        for name, lowest in (("propensity", 0.0), ("target", -1e-12)):
            values = getattr(self, name)
            wrong = ~np.isfinite(values) | (values <= lowest) | (values > 1.0 + 1e-9)
            if wrong.any():
                at = int(np.argmax(wrong))
                raise DataError(f"{name} of entry {at} is {values[at]}", "give the logged probability")
        if not np.isfinite(self.reward).all():
            raise DataError("reward has values that are not finite", "remove those entries")

    @property
    def weights(self) -> np.ndarray:
        """float64 [n], target over propensity."""
        return self.target / self.propensity

    @property
    def effective_samples(self) -> float:
        """Effective sample size: (sum of weights)^2 / sum of squared weights, 0 if all weights are 0."""
        weights = self.weights
        return float(weights.sum() ** 2 / max(np.square(weights).sum(), 1e-300))


@dataclass(frozen=True)
class Estimate:
    """Mean reward per decision under the target policy.

    Attributes:
        value: the estimate. standard_error: of the value. low, high: 95 % interval. effective_samples: see Logged.
    """

    value: float
    standard_error: float
    low: float
    high: float
    effective_samples: float


def ips(logged: Logged, clip: float | None = None) -> Estimate:
    """Inverse propensity scoring: unbiased if the propensities are correct and never 0.

    Decisions of the target policy that the logging policy never makes (propensity 0) count as reward 0.

    Args:
        logged: The decisions.
        clip: Maximum weight; trades variance for a bias towards 0. None: no limit.
    """
    weights = logged.weights if clip is None else np.minimum(logged.weights, clip)
    return _mean(weights * logged.reward, logged)


def snips(logged: Logged) -> Estimate:
    """Self-normalised IPS: a constant added to all rewards only shifts the estimate; its bias vanishes for large n.

    Decisions of the target policy that the logging policy never makes are excluded: the mean is over the rest.

    Raises:
        DataError: the target policy never chooses a logged item, so nothing can be estimated.
    """
    weights = logged.weights
    if not weights.any():
        raise DataError(
            "the target policy never chooses a logged item", "explore more, or compare more similar policies"
        )
    value = float((weights * logged.reward).sum() / weights.sum())
    error = float(np.sqrt(np.square(weights * (logged.reward - value)).sum()) / weights.sum())
    return _estimate(value, error, logged)


def doubly_robust(logged: Logged, expected: np.ndarray, expected_target: np.ndarray) -> Estimate:
    """A reward model corrected by its weighted errors: unbiased if the propensities or the model are correct.

    Args:
        logged: The decisions.
        expected: float64 [n], predicted reward of the logged decision.
        expected_target: float64 [n], predicted mean reward under the target policy.
    """
    if not len(expected) == len(expected_target) == len(logged.reward):
        raise DataError("the reward model needs one value per decision", "give a prediction for every entry")
    return _mean(expected_target + logged.weights * (logged.reward - expected), logged)


def item_rates(
    item: Sequence[str], reward: np.ndarray, target: Sequence[str], prior: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """A reward model for `doubly_robust`: mean reward of each item, shrunk towards the overall mean.

    The model of a decision is fitted on the other half of the decisions, so that no reward predicts itself.

    Args:
        item: Chosen items, one id per decision.
        reward: float64 [n], rewards of the decisions.
        target: Items that the target policy chooses.
        prior: Weight of the overall mean, as a number of decisions.

    Returns:
        Rates of the chosen items and of the target policy's items, float64 [n] each.
    """
    known, code = np.unique(np.concatenate([item, target]), return_inverse=True)
    chosen, wanted = np.split(code, 2)
    fitted = np.zeros((2, len(reward)))
    for half in range(2):
        here, other = np.arange(len(reward)) % 2 == half, np.arange(len(reward)) % 2 != half
        mean = reward[other].mean() if other.any() else 0.0
        shown = np.bincount(chosen[other], minlength=len(known))
        earned = np.bincount(chosen[other], reward[other], len(known))
        rate = (earned + prior * mean) / (shown + prior)
        fitted[0, here], fitted[1, here] = rate[chosen[here]], rate[wanted[here]]
    return fitted[0], fitted[1]


def _mean(terms: np.ndarray, logged: Logged) -> Estimate:
    error = float(terms.std(ddof=1) / np.sqrt(len(terms))) if len(terms) > 1 else float("inf")
    return _estimate(float(terms.mean()), error, logged)


def _estimate(value: float, error: float, logged: Logged) -> Estimate:
    half_width = float(norm.ppf(0.975)) * error
    return Estimate(value, error, value - half_width, value + half_width, logged.effective_samples)
