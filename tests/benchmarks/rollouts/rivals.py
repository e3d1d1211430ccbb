"""The usual test of a rollout: a two-sample t-test of each rate, at the end of a step or at every look."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tests.benchmarks.rollouts.storefront import Counts

_BAD, _GOOD = ("errors", "empty", "slow"), ("clicks", "purchases")


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The interval and metric at which a test stops a rollout."""

    at: int
    """Index of the interval."""
    metric: str
    """Metric that showed harm."""


def p_values(counts: Counts) -> dict[str, np.ndarray]:
    """Return one-sided p-values of Welch's t-test of "the candidate is not worse" on all requests up to each interval.

    Args:
        counts: Counts of one step.

    Returns:
        Metric -> float [intervals]; 1 where there is no variance yet.
    """
    requests = np.cumsum(counts.requests, axis=0).astype(float)
    found = {}
    for name in (*_BAD, *_GOOD):
        rates = np.cumsum(getattr(counts, name), axis=0) / np.maximum(requests, 1)
        sign = 1.0 if name in _BAD else -1.0
        parts = rates * (1 - rates) / np.maximum(requests - 1, 1)
        spread = np.sqrt(parts.sum(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = sign * (rates[:, 1] - rates[:, 0]) / spread
            freedom = parts.sum(1) ** 2 / (parts**2 / np.maximum(requests - 1, 1)).sum(1)
        known = (spread > 0) & (requests > 1).all(1)
        found[name] = np.where(known, special.stdtr(np.where(known, freedom, 1.0), np.where(known, -t, 0.0)), 1.0)
    return found


def at_the_end(counts: Counts, alpha: float) -> Stop | None:
    """Test once, after the last interval; `alpha` is for one metric and step."""
    last = {name: values[-1] for name, values in p_values(counts).items()}
    worst = min(last, key=lambda name: last[name])
    return Stop(at=len(counts.requests) - 1, metric=worst) if last[worst] < alpha else None


def at_every_look(counts: Counts, alpha: float) -> Stop | None:
    """Test after every interval and stop at the first p-value below `alpha`, as when people watch a dashboard."""
    first = {
        name: int(np.argmax(values < alpha)) for name, values in p_values(counts).items() if (values < alpha).any()
    }
    return Stop(at=min(first.values()), metric=min(first, key=lambda name: first[name])) if first else None
