"""Bootstrap intervals of means over shoppers or queries; columns share their resamples, so differences are paired."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from components.shared.options import Amount, Count, Options

CONFIDENCE = 0.95
"""Confidence level of all intervals; pages and reasons state it as text."""
_CELLS = 16_000_000
"""Maximum number of counts in memory at once, about 200 MB."""


class BootstrapConfig(Options):
    """Options of bootstrap intervals."""

    resamples: Count = 500
    """Number of resamples; by size: tiny 200, small 500, full 1000."""
    seed: Amount = 0
    """Seed of the resamples."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it; NaN where there is nothing to average."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return JSON values; NaN becomes None, because JSON has no NaN."""
        return {name: None if np.isnan(value) else float(value) for name, value in vars(self).items()}


def intervals(values: np.ndarray, config: BootstrapConfig) -> list[Interval]:
    """Mean and percentile interval of every column (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Args:
        values: float [rows, columns], a row for each shopper or query; columns of the same call share their resamples.
        config: Number of resamples and their seed.
    """
    rows, columns = values.shape
    if not rows:
        return [Interval(np.nan, np.nan, np.nan)] * columns
    means = np.concatenate([counts @ values / rows for counts in _resamples(rows, config)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return [Interval(*row) for row in np.stack([values.mean(0), low, high], 1).tolist()]


def _resamples(rows: int, config: BootstrapConfig) -> Iterator[np.ndarray]:
    """Number of times each row is in each resample, float64 [part of the resamples, rows]."""
    random = np.random.default_rng(config.seed)
    part = max(1, _CELLS // rows)
    for start in range(0, config.resamples, part):
        count = min(part, config.resamples - start)
        yield random.multinomial(rows, np.full(rows, 1 / rows), count).astype(np.float64)
