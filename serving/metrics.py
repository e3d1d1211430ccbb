"""Prometheus metrics of the predictor; kserve's /metrics shows them beside its own."""

from prometheus_client import Counter, Gauge, Histogram

from components.shared.recommender.stage_times import StageTimes
from components.shared.telemetry.latency import LATENCY_BOUNDS

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
MODEL = Gauge(
    "shoprank_model_info", "1 for the bundle that is served, with what runs its models", ["name", "version", "runtime"]
)
OUTCOMES = Counter(
    "shoprank_outcomes_total",
    "Questions by version, outcome (ok, empty, error, busy) and traffic (live, or a shadow's copy)",
    ["version", "outcome", "traffic"],
)
ANSWER_SECONDS = Histogram(
    "shoprank_answer_seconds",
    "Time of a whole question by version and traffic; buckets 10 % apart, so that a shift of p99 can be counted",
    ["version", "traffic"],
    buckets=LATENCY_BOUNDS,
)
SHADOW = Counter(
    "shoprank_shadow_total", "Copies by what became of them: compared, error, dropped, absent, same", ["outcome"]
)
SHADOW_OVERLAP = Histogram(
    "shoprank_shadow_overlap",
    "Share of the first ten items that both versions answered",
    ["candidate"],
    buckets=[position / 10 for position in range(11)],
)
SHADOW_DRIFT = Histogram(
    "shoprank_shadow_score_drift",
    "Mean absolute difference of the scores of items that both versions answered",
    ["candidate"],
    buckets=(0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1),
)
SHADOW_SECONDS = Histogram("shoprank_shadow_seconds", "Time of a copy over HTTP", ["candidate"], buckets=_SECONDS)
LOG_DROPPED = Gauge("shoprank_inference_log_dropped", "Records that the inference log could not take")
PENDING = Gauge("shoprank_pending_requests", "Requests that wait for a thread or hold one")


def observe(times: StageTimes) -> None:
    """Put every stage of a request into the histogram."""
    for name, seconds in times.seconds.items():
        STAGE.labels(name).observe(seconds)
