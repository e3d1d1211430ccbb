"""Compares methods on the same shoppers: metrics of each with intervals, and paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.shared.evaluation.bootstrap import BootstrapConfig, intervals
from components.shared.evaluation.ranking_metrics import coverage, gini, novelty, per_shopper
from components.shared.features.ragged import Ragged, offsets_of

MODEL, CHAMPION = "model", "champion"
LIST_METRICS = ("ndcg_at_10", "recall_at_10", "recall_at_20", "mrr", "hit_rate_at_10")
"""Metrics with one value per shopper, hence with intervals."""
DIVERSITY_METRICS = ("coverage", "novelty", "gini")
"""Metrics over all lists; a resample contains lists repeatedly, so their bootstrap intervals would be biased."""


@dataclass(frozen=True)
class Scope:
    """Lists and metrics of every method for the same relevant items, for the shoppers that have any.

    Attributes:
        name: overall, first (only items new to the shopper), or the name of a slice.
        rows: int64 [shoppers], rows of the split.
        relevant: relevant catalog rows of each shopper.
        lists: int64 [shoppers, k] by method.
        metrics: float64 [shoppers] by method and metric.
    """

    name: str
    rows: np.ndarray
    relevant: Ragged
    lists: dict[str, np.ndarray]
    metrics: dict[str, dict[str, np.ndarray]]

    @classmethod
    def of(cls, name: str, relevant: Ragged, lists: Mapping[str, np.ndarray]) -> "Scope":
        """Measure every method's lists [rows of the split, k]; rows without a relevant item are left out."""
        rows = np.flatnonzero(relevant.lengths > 0)
        kept = relevant.take(rows)
        own = {method: found[rows] for method, found in lists.items()}
        return cls(name, rows, kept, own, {method: per_shopper(found, kept) for method, found in own.items()})

    @property
    def baselines(self) -> list[str]:
        """Methods that are neither the model nor the champion."""
        return [method for method in self.lists if method not in (MODEL, CHAMPION)]

    def best_baseline(self, metric: str = "ndcg_at_10") -> str:
        """The baseline with the highest mean."""
        return max(self.baselines, key=lambda method: self.metrics[method][metric].mean() if len(self.rows) else 0.0)


def subset(relevant: Ragged, keep: np.ndarray) -> Ragged:
    """Relevant items where `keep` (bool, one per relevant item) is true, for the same rows."""
    row = np.repeat(np.arange(len(relevant)), relevant.lengths)
    return Ragged.mean(offsets_of(np.bincount(row[keep], minlength=len(relevant))), relevant.values[keep])


def summarise(scope: Scope, popularity: np.ndarray, config: BootstrapConfig) -> dict[str, Any]:
    """Means with intervals of every method, and of model minus every other method.

    Args:
        scope: The measured scope.
        popularity: float [catalog rows], target events before the test time.
        config: Options of the bootstrap.

    Returns:
        {"shoppers", "relevant", "methods": {method: {metric: {mean, low, high}}}, "differences": the same}.
    """
    methods = list(scope.lists)
    others = [method for method in methods if method != MODEL]
    table = {method: np.stack([scope.metrics[method][name] for name in LIST_METRICS], 1) for method in methods}
    columns = [*(table[method] for method in methods), *(table[MODEL] - table[method] for method in others)]
    found = [interval.to_json() for interval in intervals(np.concatenate(columns, 1), config)]
    groups: list[dict[str, Any]] = [
        dict(zip(LIST_METRICS, found[at:], strict=False)) for at in range(0, len(found), len(LIST_METRICS))
    ]
    summary = dict(zip(methods, groups, strict=False))
    for method in methods:
        lists, items = scope.lists[method], len(popularity) - 1
        values = (coverage(lists, items), novelty(lists, popularity), gini(lists, items))
        for name, value in zip(DIVERSITY_METRICS, values, strict=True):
            summary[method][name] = {"mean": value, "low": None, "high": None}
    return {
        "shoppers": len(scope.rows), "relevant": len(scope.relevant.values), "methods": summary,
        "differences": dict(zip(others, groups[len(methods) :], strict=True)),
    }  # fmt: skip
