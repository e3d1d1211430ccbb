"""Comparison of compiled and trained models: probabilities, top ten, ranking quality and latency."""

import dataclasses
import time

import numpy as np

from components.compile_model.config import Limits
from components.shared.errors import DataError
from components.shared.evaluation.ranking_metrics import hits, ndcg_at_k, overlap_at_k
from components.shared.features.rows import Rows
from components.shared.features.shopper import shopper_features
from components.shared.recommender.batches import Ranking
from components.shared.recommender.recommender import Recommender, concatenated

_FIX = "use fp16 or fp32 tables and fp32 dense layers, or raise the limits"


def _answers(recommender: Recommender, rows: Rows, shoppers: np.ndarray, k: int) -> list[Ranking]:
    """Return the rankings for shoppers at the time of the served bundle (`as_of`)."""
    now = np.full(len(shoppers), recommender.spec.as_of)
    histories = recommender.store.before(rows.shopper[shoppers], now, recommender.spec.max_history)
    return recommender.rank(histories, k)


def compare(trained: Recommender, compiled: Recommender, rows: Rows, limits: Limits) -> dict[str, float]:
    """Return the largest probability difference on shared candidates, and the mean overlap of the ten best items.

    Raises:
        DataError: a limit is exceeded.
    """
    overlaps, worst = [], 0.0
    for start in range(0, min(limits.shoppers, len(rows)), 50):
        shoppers = np.arange(start, min(start + 50, len(rows), limits.shoppers))
        every = len(trained.catalog)
        pairs = zip(_answers(trained, rows, shoppers, every), _answers(compiled, rows, shoppers, every), strict=True)
        for one, other in pairs:
            overlaps.append(overlap_at_k(one.item[None, :10], other.item[None, :10])[0])
            _, left, right = np.intersect1d(one.item, other.item, return_indices=True)
            worst = max(worst, float(np.abs(one.tasks[left] - other.tasks[right]).max(initial=0.0)))
    overlap = float(np.mean(overlaps))
    if worst > limits.max_probability_difference or overlap < limits.min_rank_overlap:
        raise DataError(
            f"compiled and trained model differ: probabilities by up to {worst:.4f}, overlap@10 {overlap:.3f}",
            f"limits are {limits.max_probability_difference} and {limits.min_rank_overlap}; {_FIX}",
        )
    return {"max_probability_difference": worst, "rank_overlap_at_10": overlap}


def index_recall(compiled: Recommender, rows: Rows, limits: Limits, k: int = 100) -> float:
    """Return the mean share of the validation shoppers' k nearest items that the compiled index finds."""
    if compiled.index.exact:
        return 1.0
    shoppers = rows.shopper[: limits.shoppers]
    now = np.full(len(shoppers), compiled.spec.as_of)
    histories = compiled.store.before(shoppers, now, compiled.spec.max_history)
    features = shopper_features(histories, compiled.catalog, compiled.spec, None)
    user = concatenated(features, [(feature.name, feature.max_length) for feature in compiled.spec.user_features])
    return compiled.index.recall(compiled.models.user_vectors(*user), k)


def quality(trained: Recommender, compiled: Recommender, rows: Rows, limits: Limits) -> dict[str, float]:
    """Return the validation NDCG@10 of both models, with the statistics of the validation snapshot.

    Args:
        trained: The trained model, as of the validation snapshot.
        compiled: The compressed model, as of any snapshot.
        rows: The validation split.
        limits: See Limits.

    Raises:
        DataError: the loss exceeds the limit.
    """
    then = dataclasses.replace(compiled, statistics=trained.statistics, neighbours=trained.neighbours)
    before, after = (ndcg(one, rows, limits.shoppers) for one in (trained, then))
    if after < before * (1.0 - limits.max_ndcg_loss):
        raise DataError(
            f"the compiled model ranks worse: NDCG@10 {after:.4f} instead of {before:.4f}",
            f"the maximum loss is {limits.max_ndcg_loss:.1%}; {_FIX}",
        )
    return {"ndcg_at_10_trained": before, "ndcg_at_10_compiled": after}


def ndcg(recommender: Recommender, rows: Rows, shoppers: int | None = None) -> float:
    """Return the mean NDCG@10 of the first `shoppers` rows (None: all), from the same snapshot as the statistics."""
    values, count = [], len(rows) if shoppers is None else min(shoppers, len(rows))
    for start in range(0, count, 50):
        part = np.arange(start, min(start + 50, count))
        histories = recommender.store.before(rows.shopper[part], rows.timestamp[part], recommender.spec.max_history)
        lists = np.zeros((len(part), 10), np.int64)
        for row, ranking in enumerate(recommender.rank(histories, 10)):
            lists[row, : len(ranking.item)] = ranking.item
        relevant = rows.targets.take(part)
        values.append(ndcg_at_k(hits(lists, relevant), relevant.lengths, 10))
    return float(np.concatenate(values).mean())


def latency(compiled: Recommender, rows: Rows, requests: int) -> dict[str, float]:
    """Measure milliseconds of single requests (median, 99th percentile) and of a batch of 32, in one thread."""
    shoppers = np.arange(requests) % len(rows)
    for one in range(5):
        _answers(compiled, rows, shoppers[one : one + 1], 10)
    seconds = []
    for one in range(requests):
        started = time.perf_counter()
        _answers(compiled, rows, shoppers[one : one + 1], 10)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    _answers(compiled, rows, np.arange(32) % len(rows), 10)
    return {
        "single_p50_ms": float(np.median(seconds)) * 1e3,
        "single_p99_ms": float(np.quantile(seconds, 0.99)) * 1e3,
        "batch_32_ms": (time.perf_counter() - started) * 1e3,
    }
