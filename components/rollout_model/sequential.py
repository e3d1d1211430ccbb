"""Always-valid evidence: likelihood-ratio mixtures for counts, betting for a bounded mean; valid at any look.

Every statistic is an e-process: nonnegative, with expectation at most 1 under its null at any stopping time, so the
probability that it exceeds 1/alpha at any observation is at most alpha (Ville 1939).

Counts. For rate ratio r = e^t between two versions, an interval of n and m requests with x and y events has the log
likelihood ratio against equality
    L(t) = x t - (x + y) log((e^t n + m) / (n + m)):
given an event, it fell on the first version with probability e^t n / (e^t n + m) (Lindon, Sanden, Shirikian, KDD 2022;
Lindon and Malek, NeurIPS 2022). exp(L(t) - L(s)) is an e-value under ratio e^s: if requests fail independently
with probabilities q e^s and q, its expectation is a product of terms 1 + z <= e^z whose exponents add up to 0.
Therefore counts need not be exactly binomial given their sum (under equality they are hypergeometric, which the
binomial dominates in convex order: Hoeffding 1963), and q and the shares may change between intervals.
"""

from collections.abc import Mapping

import numpy as np

_POINTS, _WIDEST, _DENSE = 241, 4.0, 0.05
LOG_RATIOS = _DENSE * np.sinh(np.linspace(-1, 1, _POINTS) * np.arcsinh(_WIDEST / _DENSE))
"""Grid of log rate ratios for mixtures [241], from -4 to 4, dense around 0 (0.002 apart) because effects are small."""
LOG_RATIOS[_POINTS // 2] = 0.0
_NARROW, _WIDE = 0.15, 1.0
"""Standard deviations of the prior's components: for small effects in large samples, large ones in small samples."""

FRACTIONS = np.array([0.05, 0.15, 0.35, 0.6, 0.9])
"""Bets as shares of the largest possible bet; the wealth is spread evenly over them."""
_MEANS = np.linspace(0.01, 0.99, 99)
"""Grid of means for the confidence sequence of a bounded mean."""


def _log_prior() -> np.ndarray:
    density = sum(np.exp(-0.5 * (LOG_RATIOS / scale) ** 2) / scale for scale in (_NARROW, _WIDE))
    weights = density * np.gradient(LOG_RATIOS)
    return np.log(weights / weights.sum())


LOG_PRIOR = _log_prior()
"""Log prior over LOG_RATIOS, two-sided and symmetric around equality."""


def one_sided(keep: np.ndarray) -> np.ndarray:
    """LOG_PRIOR where `keep` holds, normalised; minus infinity elsewhere.

    Args:
        keep: bool [..., 241].
    """
    weights = np.where(keep, np.exp(LOG_PRIOR), 0.0)
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum(-1, keepdims=True))


ABOVE = one_sided(LOG_RATIOS > 0)
"""Prior of the alternatives to "the ratio is at most 1"."""
BELOW = one_sided(LOG_RATIOS < 0)
"""Prior of the alternatives to "the ratio is at least 1"."""


def ratio_evidence(
    log_ratio: np.ndarray, events: np.ndarray, requests: np.ndarray, others: np.ndarray, other_requests: np.ndarray
) -> np.ndarray:
    """L(t) of one interval, relative to equality; see the module docstring.

    Args:
        log_ratio: float [guards, points].
        events: [guards], events of the version whose rate is e^t times the other's.
        requests: [guards], requests of that version.
        others: [guards], events of the other version.
        other_requests: [guards], requests of the other version.

    Returns:
        float [guards, points]; 0 where a version had no requests.
    """
    n, m = requests[:, None], other_requests[:, None]
    empty = n + m == 0
    share = np.where(empty, 0.0, n / np.where(empty, 1, n + m))
    return events[:, None] * log_ratio - (events + others)[:, None] * np.log1p(share * np.expm1(log_ratio))


def rate_evidence(log_ratio: np.ndarray, events: np.ndarray, requests: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of the rate e^t * `rate` against `rate`, which is fixed in advance.

    This Poisson form is an e-value for independent requests, also because of 1 + z <= e^z.

    Args:
        log_ratio: float [guards, points] or [points].
        events: [guards], summed since the test began.
        requests: [guards], summed likewise.
        rate: float [guards], above 0.

    Returns:
        float [guards, points].
    """
    return events[:, None] * log_ratio - (requests * rate)[:, None] * np.expm1(log_ratio)


def log_mixture(evidence: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """Log of the weighted mean of exp(evidence) over the last axis."""
    terms = evidence + log_weights
    top = terms.max(-1, keepdims=True)
    return (top + np.log(np.exp(terms - top).sum(-1, keepdims=True)))[..., 0]


def ratio_interval(evidence: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidence sequence of the log ratio: all ratios that the mixture does not reject.

    Args:
        evidence: float [guards, 241] summed over intervals, concave in the ratio.
        alpha: Probability that it ever excludes the true ratio.

    Returns:
        Lower and upper bounds, float [guards], rounded outwards to LOG_RATIOS; infinite outside its range.
    """
    inside = log_mixture(evidence, LOG_PRIOR)[:, None] - evidence < np.log(1 / alpha)
    first = inside.argmax(-1)
    last = _POINTS - 1 - inside[:, ::-1].argmax(-1)
    low = np.where(first > 0, LOG_RATIOS[np.maximum(first - 1, 0)], -np.inf)
    high = np.where(last < _POINTS - 1, LOG_RATIOS[np.minimum(last + 1, _POINTS - 1)], np.inf)
    return low, high


def mean_evidence(counts: Mapping[float, int], mean: float) -> tuple[float, float]:
    """Log e-values of values in [0, 1] against "the mean is at least `mean`" and against "at most".

    Bets a fixed share of the largest possible bet on every value (Waudby-Smith and Ramdas, JRSS-B 2024), mixed over
    shares; with fixed shares the order of values does not matter, so counts by value are sufficient.

    Args:
        counts: Number of occurrences by value.
        mean: The tested mean, in (0, 1).
    """
    below, above = _wealth(counts, np.array([mean]))
    return float(below[0]), float(above[0])


def mean_interval(counts: Mapping[float, int], alpha: float) -> tuple[float, float]:
    """Confidence sequence of the mean of values in [0, 1], rounded outwards to 0.01; see `mean_evidence`.

    Args:
        counts: Number of occurrences by value.
        alpha: Probability that it ever excludes the true mean.
    """
    below, above = _wealth(counts, _MEANS)
    # Half of the initial wealth is bet on each side.
    refused = np.logaddexp(below, above) - np.log(2) >= np.log(1 / alpha)
    inside = np.flatnonzero(~refused)
    if not len(inside):
        # All values are outside the grid of means or between two of them.
        at = float(_MEANS[np.argmin(np.logaddexp(below, above))])
        return max(at - 0.01, 0.0), min(at + 0.01, 1.0)
    first, last = int(inside[0]), int(inside[-1])
    return (float(_MEANS[first - 1]) if first else 0.0), (float(_MEANS[last + 1]) if last + 1 < len(_MEANS) else 1.0)


def _wealth(counts: Mapping[float, int], means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log wealth [means] of betting on smaller values, and of betting on larger ones."""
    values, times = np.array(list(counts), np.float64), np.array(list(counts.values()), np.float64)
    distance = values - means[:, None]
    even = np.full(len(FRACTIONS), -np.log(len(FRACTIONS)))
    bets = FRACTIONS[:, None, None]
    below = np.log1p(-bets * (distance / (1 - means[:, None]))) @ times
    above = np.log1p(bets * (distance / means[:, None])) @ times
    return log_mixture(below.T, even), log_mixture(above.T, even)
