"""Prometheus metrics of the predictor; kserve's /metrics shows them beside its own."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

STAGE = Histogram(
    "shoprank_stage_seconds",
    "Time of one request in each stage: parse, features, retrieval, ranking, explain, wait (for a thread)",
    ["stage"],
    buckets=_SECONDS,
)
REQUESTS = Counter("shoprank_requests_total", "Questions answered, by kind: search, recommend or cold", ["kind"])
EMPTY = Counter("shoprank_empty_answers_total", "Answers without any item")
REFUSED = Counter("shoprank_refused_total", "Questions refused, by reason: field, body, busy", ["reason"])
ITEMS = Histogram("shoprank_answer_items", "Items in an answer", buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500))
MODEL = Gauge("shoprank_model_info", "1 for the bundle that is served", ["name", "version"])
PENDING = Gauge("shoprank_pending_requests", "Requests that wait for a thread or hold one")


class Stopwatch:
    """Splits one request's time into stages; times of the same stage add up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, less: tuple[str, ...] = ()) -> Iterator[None]:
        """Time the body as `name`, without the time that the stages `less` took inside it."""
        inside = sum(self._seconds.get(other, 0.0) for other in less)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            spent -= sum(self._seconds.get(other, 0.0) for other in less) - inside
            self._seconds[name] = self._seconds.get(name, 0.0) + max(spent, 0.0)

    def observe(self) -> None:
        """Put every stage into the histogram."""
        for name, seconds in self._seconds.items():
            STAGE.labels(name).observe(seconds)
