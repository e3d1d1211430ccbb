"""Observations of one rollout step as sums over its intervals: all that the judge needs, small enough for JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.rollout_model.guards import BAD, COUNTED, GuardConfig, Interval
from components.rollout_model.sequential import LOG_RATIOS, ratio_evidence

CHAMPION, CANDIDATE = 0, 1
_HALF_LIFE_S = 60.0
_RECENT = 1_000.0
"""Minimum number of requests for a recent rate."""
WORSE_IS_CANDIDATE = np.array([metric in BAD for metric in COUNTED])
"""True: the harm ratio is candidate / champion (bad counts), False: champion / candidate; above 1 always means harm."""


def harm_log_ratios(config: GuardConfig) -> np.ndarray:
    """Grid of log harm ratios, float [guards, 242]: LOG_RATIOS, and the guard's tolerance in the last column."""
    bad = np.array([config.tolerance(metric) for metric in COUNTED])
    tolerance = np.where(WORSE_IS_CANDIDATE, np.log1p(bad), -np.log1p(-np.minimum(bad, 0.99)))
    return np.column_stack([np.tile(LOG_RATIOS, (len(COUNTED), 1)), tolerance])


@dataclass(kw_only=True)
class StepEvidence:
    """Sums over the intervals of a step; arrays have one row per metric of COUNTED."""

    share: float
    """Share of the traffic on the candidate."""
    final: bool
    """Whether no later step compares both versions."""
    seconds: float = 0.0
    """Observed duration in seconds."""
    requests: int = 0
    """Number of requests to the candidate."""
    log_evidence: np.ndarray = field(default_factory=lambda: np.zeros((len(COUNTED), len(LOG_RATIOS) + 1)))
    """Log likelihood ratios of the harm ratios [guards, 242], relative to equality."""
    events: np.ndarray = field(default_factory=lambda: np.zeros((len(COUNTED), 2)))
    """Number of events [guards, version], champion first."""
    counted: np.ndarray = field(default_factory=lambda: np.zeros((len(COUNTED), 2)))
    """Requests among which events were counted [guards, version]."""
    weighted: np.ndarray = field(default_factory=lambda: np.zeros((len(COUNTED), 2)))
    """Events of each version weighted by the other's share [guards, version]: the Mantel-Haenszel sums."""
    recent: np.ndarray = field(default_factory=lambda: np.zeros((len(COUNTED), 2)))
    """The champion's events and the requests among which they were counted [guards, 2], halved every minute."""
    overlaps: Counter[float] = field(default_factory=Counter)
    """Number of occurrences of each overlap."""

    @property
    def compares(self) -> bool:
        """Whether the champion also gets traffic."""
        return self.share < 1

    def add(self, interval: Interval, log_ratios: np.ndarray) -> None:
        """Add the counts of an interval.

        Args:
            interval: The next interval.
            log_ratios: Result of `harm_log_ratios`.
        """
        arms = (interval.champion, interval.candidate)
        found = [[arm.count(metric) for arm in arms] for metric in COUNTED]
        known = np.array([None not in row for row in found])
        events = np.where(known[:, None], np.array(found, np.float64), 0.0)
        trials = [[float(arm.trials(metric)) for arm in arms] for metric in COUNTED]
        requests = np.where(known[:, None], trials, 0.0)
        self.seconds += interval.seconds
        self.requests += interval.candidate.requests
        self.events += events
        self.counted += requests
        self.recent *= 0.5 ** (interval.seconds / _HALF_LIFE_S)
        self.recent += np.column_stack([events[:, CHAMPION], requests[:, CHAMPION]])
        self.overlaps.update(interval.overlaps)
        if self.compares:
            worse = WORSE_IS_CANDIDATE.astype(int)
            rows = np.arange(len(COUNTED))
            self.log_evidence += ratio_evidence(
                log_ratios,
                events[rows, worse],
                requests[rows, worse],
                events[rows, 1 - worse],
                requests[rows, 1 - worse],
            )
            total = np.maximum(requests.sum(1, keepdims=True), 1.0)
            self.weighted += events * requests[:, ::-1] / total

    def estimate(self) -> np.ndarray:
        """Rate ratio candidate over champion [guards] (Greenland and Robins 1985); NaN for 0 of 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.weighted[:, CANDIDATE] / self.weighted[:, CHAMPION]

    def recent_rates(self) -> np.ndarray:
        """Rates of the champion in the last minutes [guards]; NaN if there were too few requests."""
        known = self.recent[:, 1] >= _RECENT
        return np.where(known, self.recent[:, 0] / np.maximum(self.recent[:, 1], 1.0), np.nan)

    def to_json(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        overlaps = [[value, times] for value, times in self.overlaps.items()]
        plain = {name: getattr(self, name) for name in ("share", "final", "seconds", "requests")}
        return {**plain, **arrays, "overlaps": overlaps}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "StepEvidence":
        """The inverse of `to_json`."""
        names = ("log_evidence", "events", "counted", "weighted", "recent")
        arrays = {name: np.array(raw[name], np.float64) for name in names}
        overlaps = Counter({float(value): int(times) for value, times in raw["overlaps"]})
        return cls(**{**raw, **arrays, "overlaps": overlaps})
