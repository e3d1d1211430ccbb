"""Data of the rollout judge: counts per interval, limits, guard states and verdicts."""

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.shared.errors import InputError
from components.shared.options import Count, Limit, Options, Rate, refused


class Metric(enum.StrEnum):
    """Guarded metrics; the value is the name in JSON."""

    ERRORS = "error_rate"
    SLOW = "p99_latency"
    EMPTY = "empty_rate"
    CLICKS = "click_rate"
    PURCHASES = "purchase_rate"
    OVERLAP = "rank_overlap"

    @property
    def label(self) -> str:
        """Label for pages and messages."""
        return _LABELS[self]


_LABELS = {
    Metric.ERRORS: "error rate", Metric.SLOW: "share slower than the champion's p99",
    Metric.EMPTY: "empty-answer rate", Metric.CLICKS: "click rate", Metric.PURCHASES: "purchase rate",
    Metric.OVERLAP: "rank overlap with the champion",
}  # fmt: skip
BAD = (Metric.ERRORS, Metric.SLOW, Metric.EMPTY)
"""Counts where fewer are better."""
GOOD = (Metric.CLICKS, Metric.PURCHASES)
"""Counts where more are better."""
COUNTED = (*BAD, *GOOD)
"""Every guard on counts, in the order of the judge's arrays."""


class State(enum.StrEnum):
    """State of a guard."""

    HARM = "harm"
    SAFE = "safe"
    UNDECIDED = "undecided"
    NO_DATA = "no data"


class Action(enum.StrEnum):
    """Next action of the rollout."""

    WAIT = "wait"
    PASS = "pass"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Counts of one version in one polling interval; each request counts at most once in each field."""

    requests: int
    """Number of requests, answered or failed."""
    errors: int
    """Failed requests."""
    empty: int
    """Requests answered without an item."""
    slow: int
    """Requests slower than the limit that the rollout fixed before its first step: the champion's p99."""
    clicks: int | None = None
    """Matured requests that were followed by a click; None without events that have a request_id."""
    purchases: int | None = None
    """Matured requests that were followed by a purchase; None without events that have a request_id."""
    matured: int | None = None
    """Requests whose window for clicks and purchases ended in this interval; None: the requests of this interval."""

    def __post_init__(self) -> None:
        late = self.requests if self.matured is None else self.matured
        limits = {**dict.fromkeys(("requests", "errors", "empty", "slow"), self.requests),
                  **dict.fromkeys(("matured", "clicks", "purchases"), late)}  # fmt: skip
        for name, limit in limits.items():
            value = getattr(self, name)
            if value is not None and not 0 <= value <= limit:
                raise InputError(
                    f"Arm.{name} is {value} of {limit} requests", "count each request at most once per field"
                )

    def trials(self, metric: Metric) -> int:
        """Number of requests among which a metric was counted."""
        return self.requests if metric in BAD or self.matured is None else self.matured

    def count(self, metric: Metric) -> int | None:
        """Events of a counted metric; None if not counted."""
        return {
            Metric.ERRORS: self.errors, Metric.SLOW: self.slow, Metric.EMPTY: self.empty,
            Metric.CLICKS: self.clicks, Metric.PURCHASES: self.purchases,
        }[metric]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Counts between two observations."""

    seconds: float
    """Length in seconds."""
    champion: Arm
    """Counts of the version to be replaced."""
    candidate: Arm
    """Counts of the version to replace it."""
    overlaps: tuple[float, ...] = ()
    """Overlap@10, in [0, 1], of each request that both versions answered; empty without a shadow."""

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise InputError(f"Interval.seconds is {self.seconds}", "give the seconds since the last poll")
        if any(not 0 <= value <= 1 for value in self.overlaps):
            raise InputError("Interval.overlaps has a value outside [0, 1]", "give shares of the first ten items")


Open = Annotated[float, Field(gt=0, lt=1)]
"""Between 0 and 1."""
Tolerance = Annotated[float, Field(gt=0, lt=50)]
"""Relative increase of a rate."""
Factor = Annotated[float, Field(gt=1, lt=50)]
"""A factor above 1."""


class GuardConfig(Options):
    """Limits of the guards. The defaults suit about 100 requests/s; use wider tolerances or longer steps for fewer."""

    alpha: Open = 0.05
    """Probability of a false alarm for a candidate equal to the champion, over all guards, steps and observations."""
    final_look: Open = 0.2
    """Part of alpha for one exact test of guards that are undecided at the end of the final step; a single planned test
    detects smaller harm than sequential tests."""
    strict: bool = False
    """Whether an undecided guard at the end of the final step rolls back if its estimate is beyond the tolerance. Not
    bounded by alpha: with 5 requests/s a fifth of equal models would be rolled back."""
    beta: Open = 0.05
    """Probability that a guard calls a candidate safe in a step although its harm exceeds the tolerance."""
    error_tolerance: Tolerance = 0.1
    """Tolerated increase of the error rate, relative to the champion's."""
    slow_tolerance: Tolerance = 0.5
    """Tolerated increase of the share slower than the champion's p99: 1.5 % instead of 1 % is a p99 some 8 % higher."""
    empty_tolerance: Tolerance = 0.1
    """Tolerated relative increase of the empty-answer rate."""
    click_tolerance: Open = 0.05
    """Tolerated relative loss of click rate."""
    purchase_tolerance: Open = 0.1
    """Tolerated relative loss of purchase rate."""
    negligible: Open = 0.001
    """Rate of errors, slow or empty answers below which a candidate is safe regardless of the champion's rate."""
    min_overlap: Open = 0.3
    """Minimum mean overlap@10 of the candidate."""
    full_share_factor: Factor = 2.0
    """With all traffic on the candidate, its rates are compared with the champion's rates of the previous steps, or of
    the last minutes if worse, multiplied (or divided) by this factor, which covers variation by time of day. Problems
    of both versions are then attributed to the candidate, so keep this step short."""
    min_sample: Count = 2_000
    """Minimum number of requests of the candidate per step."""
    min_duration_s: Rate = 600.0
    """Minimum duration of a step in seconds."""
    max_duration_s: Limit = 21_600.0
    """Maximum duration of a step in seconds, after which it is decided with the available data."""
    judged: tuple[Metric, ...] = tuple(Metric)
    """Guards that share alpha; omit those that cannot be measured to make the others more sensitive."""
    required: tuple[Metric, ...] = BAD
    """Guards that need data for a step to pass."""

    @model_validator(mode="after")
    def _limits_go_together(self) -> Self:
        if self.min_duration_s > self.max_duration_s:
            raise refused("min_duration_s exceeds max_duration_s", "choose 0 <= minimum <= maximum > 0")
        missing = [metric for metric in self.required if metric not in self.judged]
        if missing or not self.judged:
            raise refused(f"required has {', '.join(missing) or 'no guard'}, which is not in judged",
                          f"add it to judged; guards are {', '.join(Metric)}")  # fmt: skip
        return self

    @property
    def alpha_guard(self) -> float:
        """Share of alpha per guard for all sequential tests."""
        return self.alpha * (1 - self.final_look) / len(self.judged)

    @property
    def alpha_final(self) -> float:
        """Share of alpha per guard for the single test at the end of the final step."""
        return self.alpha * self.final_look / len(self.judged)

    def tolerance(self, metric: Metric) -> float:
        """Tolerated relative harm of a counted metric."""
        return {
            Metric.ERRORS: self.error_tolerance, Metric.SLOW: self.slow_tolerance, Metric.EMPTY: self.empty_tolerance,
            Metric.CLICKS: self.click_tolerance, Metric.PURCHASES: self.purchase_tolerance,
        }[metric]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GuardState:
    """One guard after an observation. Ratios are candidate over champion; counts are those of the step."""

    metric: Metric
    """The guarded metric."""
    state: State
    """Result of the guard."""
    champion_events: int = 0
    """Errors, slow or empty answers, clicks or purchases of the champion; 0 for the overlap."""
    champion_requests: int = 0
    """Requests among which they were counted."""
    candidate_events: int = 0
    """The same events of the candidate."""
    candidate_requests: int = 0
    """The same for the candidate; for the overlap, the number of compared answers."""
    champion_rate: float | None = None
    """Rate in this step; with all traffic on the candidate, the reference from previous steps."""
    candidate_rate: float | None = None
    """Rate in this step; for the overlap, its mean."""
    estimate: float | None = None
    """Rate ratio in this step (Mantel-Haenszel over intervals), or mean overlap."""
    low: float | None = None
    """Lower bound of the confidence sequence over the whole rollout at level 1 - GuardConfig.alpha_guard; None if it is
    unbounded or the champion gets no traffic."""
    high: float | None = None
    """Upper bound, likewise."""
    harm_e: float = 1.0
    """Largest e-value so far against "not harmful"; the state is harm from 1 / GuardConfig.alpha_guard."""
    safe_e: float = 1.0
    """E-value of this step against "harm beyond the tolerance"; the state is safe from 1 / beta."""
    p_value: float = 1.0
    """Always-valid p-value of "not harmful"."""
    limit: float = 1.0
    """Limit of the ratio or of the mean overlap."""

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "GuardState":
        """The inverse of `to_json`."""
        return cls(**{**raw, "metric": Metric(raw["metric"]), "state": State(raw["state"])})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Action after an observation, with reasons."""

    action: Action
    """Wait for more data, pass to the next step, or roll back."""
    reasons: tuple[str, ...]
    """Sentences that name metric, numbers and limit."""
    guards: tuple[GuardState, ...]
    """State of every judged guard."""
