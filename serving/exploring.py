"""Exploration: shows a lower-ranked item at the last position of some answers and logs propensities.

Without exploration, feedback is limited to what the model already ranks high; with propensities, the counterfactual
estimators of components/evaluate_model can estimate the performance of another model.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from components.shared.errors import InputError
from components.shared.recommender.batches import Ranking


@dataclass(frozen=True, kw_only=True)
class ThompsonConfig:
    """Draw each item with the probability that it is the best of the pool.

    Each item's rate is Beta-distributed around the model's probability, narrower the more buyers the item has.
    Source: Thompson (Biometrika 25, 1933); Chapelle & Li, An Empirical Evaluation of Thompson Sampling (NIPS 2011).
    """

    prior_strength: float = 10.0
    """Strength of the model's prediction as a prior, in observations."""


@dataclass(frozen=True, kw_only=True)
class UniformConfig:
    """Draw uniformly: epsilon-greedy, with the exploration share as epsilon."""


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig:
    """Configuration of exploration."""

    share: float
    """Share of answers that explore, above 0 and below 1."""
    draw: ThompsonConfig | UniformConfig = UniformConfig()
    """How the item is drawn."""
    pool: int = 20
    """Number of candidates for the last position: the item ranked there and those that follow."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"--explore is {self.share}", "give a share above 0 and below 1, such as 0.05")
        if self.pool < 2:
            raise InputError(f"--explore_pool is {self.pool}", "give at least 2 items")


@dataclass(frozen=True)
class Explored:
    """The positions to show.

    Attributes:
        positions: int64, positions of the longer ranking that are answered, best first.
        propensities: probability of each of them at its position, given the request.
    """

    positions: np.ndarray
    propensities: tuple[float, ...]


def explore(config: ExplorationConfig, request_id: str, k: int, score: np.ndarray, buyers: np.ndarray) -> Explored:
    """Choose the item at the last of k positions, deterministically for a request id.

    Args:
        config: Share, draw and pool.
        request_id: Seeds the draw.
        k: Positions of the answer.
        score: float32 [k + pool - 1] or fewer, probabilities, best first.
        buyers: float32, same shape, number of buyers of each item.
    """
    if len(score) <= k or k < 2:
        return Explored(np.arange(min(k, len(score))), (1.0,) * min(k, len(score)))
    drawn = probabilities(config.draw, score[k - 1 :], buyers[k - 1 :])
    chance = config.share * drawn
    chance[0] += 1.0 - config.share
    random = np.random.default_rng([zlib.crc32(request_id.encode()), 7])
    position = int(random.choice(len(chance), p=chance / chance.sum()))
    return Explored(np.r_[np.arange(k - 1), k - 1 + position], (*(1.0,) * (k - 1), round(float(chance[position]), 9)))


def reordered(
    config: ExplorationConfig, request_id: str, k: int, ranking: Ranking, buyers: np.ndarray
) -> tuple[Ranking, tuple[float, ...]]:
    """The ranking with the drawn item at the last position of its first page, and that page's propensities.

    Args:
        config: Share, draw and pool.
        request_id: Seeds the draw.
        k: Items of the page.
        ranking: All ranked items.
        buyers: float32 [items], number of buyers of every item of the catalog.
    """
    pool = ranking.item[: k + config.pool - 1]
    shown = explore(config, request_id, k, ranking.score[: len(pool)], buyers[pool])
    others = np.setdiff1d(np.arange(len(ranking.item)), shown.positions)
    return ranking.take(np.concatenate([shown.positions, others])), shown.propensities


def probabilities(draw: ThompsonConfig | UniformConfig, score: np.ndarray, buyers: np.ndarray) -> np.ndarray:
    """Probability of drawing each item, float64, summing to 1; exact up to quadrature for Thompson sampling."""
    if isinstance(draw, UniformConfig):
        return np.full(len(score), 1.0 / len(score))
    mean = np.clip(score.astype(np.float64), 1e-6, 1.0 - 1e-6)
    strength = draw.prior_strength + buyers.astype(np.float64)
    a, b = mean * strength, (1.0 - mean) * strength
    # Integrate between the quantiles of all items: a fine grid wherever a density is high.
    levels = np.linspace(0.002, 0.998, 25)
    edges = np.unique(np.r_[0.0, beta.ppf(levels[:, None], a, b).ravel(), 1.0])
    mass = np.diff(beta.cdf(edges[:, None], a, b), axis=0)
    below = beta.cdf(((edges[1:] + edges[:-1]) / 2)[:, None], a, b)
    logs = np.log(np.maximum(below, 1e-300))
    best = mass * np.exp(logs.sum(1, keepdims=True) - logs)
    return best.sum(0) / best.sum()
