"""Sources of a rollout's metrics: Prometheus, or the inference log of the predictors.

Both count events since the last observation. If the source is unavailable, the interval has no requests; a step without
data ends with a rollback.
"""

import contextlib
import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np

from components.rollout_model.guards import Arm, Interval
from components.rollout_model.responses import Responses
from components.shared.errors import InputError, ServingError
from components.shared.telemetry.inference_log import EMPTY, OK, Answered, Compared, LogReader
from components.shared.telemetry.latency import bound_above


@dataclass(frozen=True)
class Versions:
    """Versions to compare.

    Attributes:
        champion: current version. candidate: new version.
    """

    champion: str
    candidate: str


class Evidence(Protocol):
    """Counts of champion and candidate, interval by interval."""

    def p99(self) -> float | None:
        """99th percentile of the champion's response time in seconds, over all available data; None without answers."""
        ...

    def begin(self, slow: float) -> None:
        """Ignore everything before this call; `slow` as for `read`."""
        ...

    def read(self, slow: float) -> Interval:
        """Return the counts since the last observation; `slow` is the limit of a slow answer in seconds."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the reading position as JSON values, to resume after a crash."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the reading position from `to_json`."""
        ...


class PrometheusEvidence:
    """Counters of `shoprank_outcomes_total`, `shoprank_answer_seconds` and `shoprank_shadow_overlap`.

    Each series is tracked separately and a falling counter means that its pod restarted, so counts are integers and
    nothing is extrapolated, unlike with `increase()`. One query reads all series: a scrape between two queries would
    show requests in one counter but not yet in the other.

    Args:
        url: Address of the Prometheus server.
        versions: Versions to compare.
        selector: Further label matchers, such as `namespace="shoprank"`.
    """

    def __init__(self, url: str, versions: Versions, selector: str = ""):
        if not url.startswith(("http://", "https://")):
            raise InputError(f"prometheus is '{url}'", "give its address, such as http://prometheus.monitoring:9090")
        self._url, self._versions = url.rstrip("/"), versions
        self._selector = f",{selector}" if selector else ""
        self._last: dict[str, float] = {}
        self._early: dict[str, int] = {}
        self._looked = time.time()

    def p99(self) -> float | None:
        """See Evidence; the upper bound of the bucket that contains it."""
        counts: dict[float, float] = defaultdict(float)
        for labels, value in self._query(f"shoprank_answer_seconds_bucket{{{self._arms(self._versions.champion)}}}"):
            counts[float(labels["le"])] += value
        if not counts or not counts[float("inf")]:
            return None
        return next(bound for bound in sorted(counts) if counts[bound] >= 0.99 * counts[float("inf")])

    def begin(self, slow: float) -> None:
        """See Evidence."""
        self._last, self._early, self._looked = {}, {}, time.time()
        for labels, value in self._series(repr(bound_above(slow))):
            self._last[_key(labels)] = value

    def read(self, slow: float) -> Interval:
        """See Evidence."""
        now = time.time()
        seconds, self._looked = now - self._looked, now
        risen: list[tuple[dict[str, str], float]] = []
        with contextlib.suppress(ServingError):
            for labels, value in self._series(repr(bound_above(slow))):
                before = self._last.get(_key(labels), 0.0)
                risen.append((labels, value - before if value >= before else value))
                self._last[_key(labels)] = value
        arms = [self._arm(risen, version) for version in (self._versions.champion, self._versions.candidate)]
        return Interval(seconds=seconds, champion=arms[0], candidate=arms[1], overlaps=_overlaps(risen))

    def to_json(self) -> dict[str, Any]:
        """See Evidence."""
        return {"last": self._last, "early": self._early, "looked": self._looked}

    def restore(self, state: dict[str, Any]) -> None:
        """See Evidence."""
        self._last, self._early, self._looked = dict(state["last"]), dict(state.get("early", {})), state["looked"]

    def _arm(self, risen: list[tuple[dict[str, str], float]], version: str) -> Arm:
        """Counts of one version; slow answers whose outcome is not scraped yet are carried to the next interval."""
        outcomes: Counter[str] = Counter()
        within: Counter[str] = Counter()
        for labels, value in risen:
            if labels.get("version") != version:
                continue
            if labels["__name__"] == "shoprank_outcomes_total":
                outcomes[labels["outcome"]] += int(value)
            elif labels["__name__"] == "shoprank_answer_seconds_bucket":
                within["all" if labels["le"] == "+Inf" else "quick"] += int(value)
        requests = sum(outcomes.values())
        slow = within["all"] - within["quick"] if "quick" in within else 0
        slow = max(slow + self._early.get(version, 0), 0)
        self._early[version] = slow - min(slow, requests)
        return Arm(
            requests=requests, errors=requests - outcomes[OK] - outcomes[EMPTY], empty=outcomes[EMPTY],
            slow=min(slow, requests),
        )  # fmt: skip

    def _arms(self, *versions: str) -> str:
        return f'traffic="live",version=~"{"|".join(versions)}"{self._selector}'

    def _series(self, slow: str) -> list[tuple[dict[str, str], float]]:
        both = self._arms(self._versions.champion, self._versions.candidate)
        bounds = "|".join({slow.replace(".", r"\\."), r"\\+Inf"})
        return self._query(
            f'shoprank_outcomes_total{{{both}}} or shoprank_answer_seconds_bucket{{{both},le=~"{bounds}"}} '
            f'or shoprank_shadow_overlap_bucket{{candidate="{self._versions.candidate}"{self._selector}}}'
        )

    def _query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and current value of every series.

        Raises:
            ServingError: Prometheus does not answer or rejects the query.
        """
        fix = "check its address and that it is running; without metrics the rollout is rolled back"
        try:
            with httpx.Client(trust_env=False, timeout=10.0) as client:
                response = client.get(f"{self._url}/api/v1/query", params={"query": expression})
        except httpx.TransportError as error:
            raise ServingError(f"Prometheus at {self._url} does not answer: {error!r}", fix) from error
        if response.status_code != 200:
            raise ServingError(f"Prometheus rejected {expression}: {response.text[:300]}", fix)
        return [(one["metric"], float(one["value"][1])) for one in response.json()["data"]["result"]]


def _key(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _overlaps(risen: list[tuple[dict[str, str], float]]) -> tuple[float, ...]:
    """Values of a cumulative histogram with bounds 0, 0.1 ... 1: exact for ten items, else rounded up."""
    at_most: Counter[float] = Counter()
    for labels, value in risen:
        if labels["__name__"] == "shoprank_shadow_overlap_bucket" and labels["le"] != "+Inf":
            at_most[float(labels["le"])] += int(value)
    found: list[float] = []
    below = 0
    for bound in sorted(at_most):
        found += [bound] * max(at_most[bound] - below, 0)
        below = max(at_most[bound], below)
    return tuple(found)


@dataclass
class LogEvidence:
    """Counts from a folder of inference logs; needs no Prometheus.

    Attributes:
        folder: folder with the logs of all predictors. versions: versions to compare.
        responses: clicks and purchases by request_id; None if the shop's events are not available.
        clock: current time in epoch seconds.
    """

    folder: Path
    versions: Versions
    responses: Responses | None = None
    clock: Callable[[], float] = time.time
    _reader: LogReader = field(init=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(
                f"inference log {self.folder} does not exist", "serve with --inference_log and mount its volume"
            )
        self._reader, self._looked = LogReader(self.folder), self.clock()

    def p99(self) -> float | None:
        """See Evidence."""
        times = [one.seconds for one in LogReader(self.folder).read()
                 if isinstance(one, Answered) and one.version == self.versions.champion and not one.shadow]  # fmt: skip
        return float(np.quantile(times, 0.99, method="higher")) if times else None

    def begin(self, slow: float) -> None:
        """See Evidence."""
        self._reader.skip()
        self._looked = self.clock()

    def read(self, slow: float) -> Interval:
        """See Evidence."""
        now = self.clock()
        seconds, self._looked = now - self._looked, now
        counts: dict[str, Counter[str]] = {self.versions.champion: Counter(), self.versions.candidate: Counter()}
        overlaps = []
        for one in self._reader.read():
            if isinstance(one, Compared):
                compared = one.version, one.candidate
                overlaps += [one.overlap] if compared == dataclasses.astuple(self.versions) else []
            elif one.version in counts and not one.shadow:
                counts[one.version].update({"all": 1, one.outcome: 1, "slow": int(one.seconds > slow)})
                if self.responses:
                    self.responses.answered(one)
        late = self.responses.matured(now) if self.responses else None
        arms = [self._arm(count, None if late is None else late.get(version, Counter()))
                for version, count in counts.items()]  # fmt: skip
        return Interval(seconds=seconds, champion=arms[0], candidate=arms[1], overlaps=tuple(overlaps))

    @staticmethod
    def _arm(count: Counter[str], late: Counter[str] | None) -> Arm:
        known = {} if late is None else {name: late[name] for name in ("matured", "clicks", "purchases")}
        return Arm(requests=count["all"], errors=count["all"] - count[OK] - count[EMPTY], empty=count[EMPTY],
                   slow=count["slow"], **known)  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """See Evidence; requests waiting for clicks are not saved, so their clicks are not counted after a resume."""
        return {"offsets": self._reader.offsets, "looked": self._looked}

    def restore(self, state: dict[str, Any]) -> None:
        """See Evidence."""
        self._reader.offsets, self._looked = dict(state["offsets"]), state["looked"]
