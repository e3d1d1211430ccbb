"""Prometheus metrics of the predictor; served at /metrics together with kserve's."""

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
EMPTY = Counter("shoprank_empty_answers_total", "Answers without items")
REFUSED = Counter(
    "shoprank_refused_total", "Questions rejected, by reason: field, body, busy, key, scope, rate, quota", ["reason"]
)
ITEMS = Histogram("shoprank_answer_items", "Items in an answer", buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500))
MODEL = Gauge(
    "shoprank_model_info", "1 for the served bundle, with its version and model runtime", ["name", "version", "runtime"]
)
OUTCOMES = Counter(
    "shoprank_outcomes_total",
    "Questions by version, outcome (ok, empty, error, busy) and traffic (live, or copy for a shadow)",
    ["version", "outcome", "traffic"],
)
ANSWER_SECONDS = Histogram(
    "shoprank_answer_seconds",
    "Time of an answer by version and traffic; buckets 10 % apart, so that shifts of p99 are visible",
    ["version", "traffic"],
    buckets=LATENCY_BOUNDS,
)
SHADOW = Counter(
    "shoprank_shadow_total", "Copies for a shadow by result: compared, error, dropped, absent, same", ["outcome"]
)
SHADOW_OVERLAP = Histogram(
    "shoprank_shadow_overlap",
    "Share of the first ten items common to both versions",
    ["candidate"],
    buckets=[position / 10 for position in range(11)],
)
SHADOW_DRIFT = Histogram(
    "shoprank_shadow_score_drift",
    "Mean absolute score difference of items common to both versions",
    ["candidate"],
    buckets=(0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1),
)
SHADOW_SECONDS = Histogram(
    "shoprank_shadow_seconds", "Time of a shadow request over HTTP", ["candidate"], buckets=_SECONDS
)
RULES = Gauge("shoprank_rules", "Rules in force")
RULES_REFUSED = Gauge("shoprank_rules_refused", "1 while the file of rules is refused and those before it stay")
RULES_ACTED = Counter("shoprank_rules_acted_total", "Answers that a rule did something to", ["rule"])
EVENTS = Counter("shoprank_events_total", "Online events: accepted, duplicate, or unavailable store", ["outcome"])
STATE_READS = Counter("shoprank_state_reads_total", "Batches whose online events were read, or stale", ["outcome"])
STATE_AWAY = Gauge("shoprank_state_away", "1 while the store of online events does not answer")
LATE = Counter("shoprank_late_total", "Requests without an answer before their deadline")
CANCELLED = Counter("shoprank_cancelled_total", "Requests whose clients went away before their answer")
BATCH_ROWS = Histogram("shoprank_batch_rows", "Instances answered together", buckets=(1, 2, 4, 8, 16, 32, 64))
ACCESS_REFUSED = Gauge("shoprank_access_refused", "1 while the access file is refused and the one before it stays")
LOG_DROPPED = Gauge("shoprank_inference_log_dropped", "Records dropped by the inference log")
PENDING = Gauge("shoprank_pending_requests", "Requests waiting for a thread or running")


def observe(times: StageTimes) -> None:
    """Record the stage times of a request."""
    for name, seconds in times.seconds.items():
        STAGE.labels(name).observe(seconds)
