"""A simulated storefront with known rates: traffic with a daily cycle, and counts of two versions for each interval.

Counts are drawn, not requests, so that hundreds of rollouts over days are affordable; their rates are exact.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from components.rollout_model.guards import Arm, Interval

DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Category:
    """A category of the catalog."""

    weight: float
    """Share of requests."""
    empty: float
    """Probability that a response has no items."""
    click: float
    """Probability that a response with items is clicked."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """Differences of a model version from the champion; none by default."""

    error_factor: float = 1.0
    """Factor on the base error rate."""
    failing: float = 0.0
    """Additional share of all requests that fail."""
    latency_factor: float = 1.0
    """Factor on the champion's latency, at all quantiles."""
    click_factor: float = 1.0
    """Factor on the champion's click probability."""
    empty_category: int | None = None
    """Category whose responses have no items."""
    overlap: float = 0.6
    """Mean overlap@10 with the champion."""


@dataclass(frozen=True, kw_only=True)
class Storefront:
    """A mid-size shop. Rates vary over the day for both versions alike."""

    requests_per_s: float = 100.0
    """Mean traffic over the day."""
    wave: float = 0.5
    """Traffic varies by this share over the day: 50 to 150 requests per second."""
    error_rate: float = 0.005
    """Error rate of a healthy version."""
    median_latency_s: float = 0.025
    """Median latency at mean traffic; the latency is lognormal."""
    sigma: float = 0.5
    """Standard deviation of the log latency: p99 is 80 ms."""
    busy_slower: float = 0.1
    """Latency rises by this share at peak traffic and falls by it at night."""
    purchase_per_click: float = 0.125
    """Probability of a purchase after a click."""
    evening: float = 0.1
    """Click probability varies by this share over the day, opposite to the traffic."""
    shadowed: float = 0.01
    """Share of requests that both versions serve."""
    incidents_per_day: float = 0.0
    """Incidents in dependencies of both versions: for ten minutes 20 times the errors and twice the latency."""
    categories: tuple[Category, ...] = field(
        default=tuple(
            Category(weight=weight, empty=empty, click=click)
            for weight, empty, click in (
                (0.25, 0.005, 0.14),
                (0.20, 0.01, 0.13),
                (0.15, 0.01, 0.12),
                (0.12, 0.02, 0.12),
                (0.10, 0.02, 0.11),
                (0.08, 0.03, 0.10),
                (0.06, 0.05, 0.10),
                (0.04, 0.10, 0.09),
            )
        )
    )
    """Categories of the catalog."""

    @property
    def slow_limit_s(self) -> float:
        """The champion's p99 latency at mean traffic, measured by the rollout before its first step."""
        return self.median_latency_s * math.exp(self.sigma * float(stats.norm.ppf(0.99)))

    def incidents(self, random: np.random.Generator, days: float) -> np.ndarray:
        """Draw the starts of incidents within `days` days, in seconds, sorted."""
        return np.sort(random.uniform(0, days * DAY_S, random.poisson(self.incidents_per_day * days)))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts int64 [intervals, version], champion first, and overlaps int64 [intervals, 11] by tenths."""

    requests: np.ndarray
    """Requests of each version."""
    errors: np.ndarray
    """Failed requests."""
    empty: np.ndarray
    """Responses without items."""
    slow: np.ndarray
    """Responses slower than the storefront's limit."""
    clicks: np.ndarray
    """Requests followed by a click."""
    purchases: np.ndarray
    """Requests followed by a purchase."""
    overlaps: np.ndarray
    """Number of requests with each overlap."""

    def intervals(self, seconds: float) -> Iterator[Interval]:
        """Yield the counts as intervals for the rollout's judge."""
        names = ("requests", "errors", "empty", "slow", "clicks", "purchases")
        columns = [getattr(self, name).tolist() for name in names]
        tenths = tuple(number / 10 for number in range(11))
        for at, overlaps in enumerate(self.overlaps.tolist()):
            champion, candidate = (
                Arm(**{name: column[at][version] for name, column in zip(names, columns, strict=True)})
                for version in (0, 1)
            )
            values = tuple(value for value, times in zip(tenths, overlaps, strict=True) for _ in range(times))
            yield Interval(seconds=seconds, champion=champion, candidate=candidate, overlaps=values)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of time divided into equal intervals."""

    start_s: float
    """Start, in seconds since midnight of the first day."""
    seconds: float
    """Length of an interval."""
    intervals: int
    """Number of intervals."""
    share: float
    """Share of the traffic that the candidate gets."""

    def rest(self, share: float, start_s: float) -> "Stretch":
        """Return a stretch with the same intervals at another share and start."""
        return replace(self, share=share, start_s=start_s)


def draw(
    shop: Storefront, candidate: Version, stretch: Stretch, incidents: np.ndarray, random: np.random.Generator
) -> Counts:
    """Draw the counts of a stretch of time.

    Args:
        shop: The storefront.
        candidate: The candidate version; the champion has no faults.
        stretch: Intervals and the candidate's share.
        incidents: Starts of incidents in seconds.
        random: Random number generator.
    """
    time = stretch.start_s + stretch.seconds * (np.arange(stretch.intervals) + 0.5)
    tide = np.sin(2 * np.pi * (time / DAY_S - 0.375))
    since = time[:, None] - incidents
    trouble = np.any((since >= 0) & (since < 600.0), axis=1, keepdims=True)
    versions = (Version(), candidate)
    weights = np.array([category.weight for category in shop.categories])
    shares = np.array([1 - stretch.share, stretch.share])
    mean = shop.requests_per_s * (1 + shop.wave * tide) * stretch.seconds
    # [intervals, version, category]: randomly splitting a Poisson stream gives Poisson streams.
    requests = random.poisson(mean[:, None, None] * shares[:, None] * weights)
    failing = np.array([min(1.0, shop.error_rate * v.error_factor + v.failing) for v in versions])
    errors = random.binomial(requests, np.minimum(failing * np.where(trouble, 20.0, 1.0), 0.9)[..., None])
    answered = requests - errors
    empties = random.binomial(answered, [_empties(shop, version) for version in versions])
    clicks = random.binomial(answered - empties, _clicks(shop, versions, tide))
    purchases = random.binomial(clicks, shop.purchase_per_click)
    whole = requests.sum(2)
    ok = answered.sum(2)
    factor = np.array([v.latency_factor for v in versions]) * np.where(trouble, 2.0, 1.0)
    latency = factor * (1 + shop.busy_slower * tide)[:, None]
    tail = stats.norm.sf((math.log(shop.slow_limit_s / shop.median_latency_s) - np.log(latency)) / shop.sigma)
    return Counts(
        requests=whole, errors=errors.sum(2), empty=empties.sum(2), slow=random.binomial(ok, tail),
        clicks=clicks.sum(2), purchases=purchases.sum(2),
        overlaps=_overlaps(random, random.binomial(whole.sum(1), shop.shadowed), candidate.overlap),
    )  # fmt: skip


def _empties(shop: Storefront, version: Version) -> np.ndarray:
    rates = np.array([category.empty for category in shop.categories])
    if version.empty_category is not None:
        rates[version.empty_category] = 1.0
    return rates


def _clicks(shop: Storefront, versions: tuple[Version, ...], tide: np.ndarray) -> np.ndarray:
    rates = np.array([category.click for category in shop.categories])
    factors = np.array([version.click_factor for version in versions])
    return (1 - shop.evening * tide)[:, None, None] * factors[:, None] * rates


def _overlaps(random: np.random.Generator, compared: np.ndarray, mean: float) -> np.ndarray:
    """Overlap counts by tenths [intervals, 11], beta-binomial: agreement of the models varies by shopper."""
    tenths = stats.betabinom.pmf(np.arange(11), 10, 4 * mean, 4 * (1 - mean))
    return random.multinomial(compared, tenths / tenths.sum())
