"""Metrics of the same lists on slices of items, shoppers and purchases."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluate_model.compare import MODEL, Scope, subset
from components.shared.evaluation.bootstrap import BootstrapConfig, intervals
from components.shared.features.ragged import Ragged

_SHOWN = ("ndcg_at_10", "recall_at_20")


@dataclass(frozen=True)
class SliceFacts:
    """Data that defines the slices of items, shoppers and purchases.

    Attributes:
        popularity: float [catalog rows], target events before the test time.
        visits: int64 [rows of the split], distinct days with an event before the test time.
        bought: bool [relevant items], bought before by that shopper.
        new_below: shoppers with fewer visits are new.
    """

    popularity: np.ndarray
    visits: np.ndarray
    bought: np.ndarray
    new_below: int


def head_items(popularity: np.ndarray) -> np.ndarray:
    """Whether each item is one of the most popular that together make up half of all target events, bool [items]."""
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    head = np.zeros(len(popularity), bool)
    head[order] = (before < popularity.sum() / 2) & (popularity[order] > 0)
    return head


def slices(
    relevant: Ragged, overall: dict[str, np.ndarray], first: Scope, facts: SliceFacts, config: BootstrapConfig
) -> list[dict[str, Any]]:
    """Compare the model with the best baseline on every slice.

    Args:
        relevant: relevant catalog rows of every row of the split.
        overall: int64 [rows, k], full lists by method.
        first: scope of first-time purchases, with lists of items new to the shopper; gives the last slice.
        facts: data that defines the slices.
        config: options of the bootstrap.
    """
    described = [
        _describe(group, name, Scope.of(name, part, overall), config) for group, name, part in _parts(relevant, facts)
    ]
    return [*described, _describe("purchases", "bought for the first time", first, config)]


def _parts(relevant: Ragged, facts: SliceFacts) -> Iterator[tuple[str, str, Ragged]]:
    head = head_items(facts.popularity)[relevant.values]
    yield "items", "head items: first half of past events", subset(relevant, head)
    yield "items", "tail items: all others", subset(relevant, ~head)
    new = np.repeat(facts.visits < facts.new_below, relevant.lengths)
    yield "shoppers", f"new shoppers: fewer than {facts.new_below} visits", subset(relevant, new)
    yield "shoppers", f"returning shoppers: {facts.new_below} visits or more", subset(relevant, ~new)
    yield "purchases", "bought again", subset(relevant, facts.bought)


def _describe(group: str, name: str, scope: Scope, config: BootstrapConfig) -> dict[str, Any]:
    best, model = scope.best_baseline(), scope.metrics[MODEL]
    empty = not len(scope.rows)
    difference = intervals((model["ndcg_at_10"] - scope.metrics[best]["ndcg_at_10"])[:, None], config)[0]

    def means(method: str) -> dict[str, float | None]:
        return {metric: None if empty else float(scope.metrics[method][metric].mean()) for metric in _SHOWN}

    return {
        "group": group, "slice": name, "shoppers": len(scope.rows), "relevant": len(scope.relevant.values),
        "model": means(MODEL), "baseline": means(best), "best_baseline": None if empty else best,
        "difference": difference.to_json(),
    }  # fmt: skip
