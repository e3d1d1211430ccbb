"""Evaluation by full ranking over all items: top lists of any scorer, and a layout's metrics of them."""

from collections.abc import Callable

import numpy as np
import torch

from components.shared.errors import DataError
from components.shared.evaluation import ranking_metrics
from components.shared.features.ragged import Ragged
from tests.benchmarks.published.layouts import Layout, Problem

Scorer = Callable[[Ragged], torch.Tensor]
"""Maps histories to scores, float [queries, items]; column 0 is not an item."""


def top_lists(scorer: Scorer, queries: Ragged, k: int, exclude_seen: bool, part: int = 512) -> np.ndarray:
    """Return the best k catalog rows of each query, int64 [queries, k]; empty positions are 0.

    Ties are ordered by torch.topk, independently of the relevant items.

    Args:
        scorer: Scores queries.
        queries: Histories.
        k: Length of the lists.
        exclude_seen: Whether to exclude a query's own items from its list.
        part: Queries scored at a time.
    """
    lists = []
    for start in range(0, len(queries), part):
        chosen = queries.take(np.arange(start, min(start + part, len(queries))))
        scores = scorer(chosen)
        scores[:, 0] = float("-inf")
        if exclude_seen:
            row = torch.from_numpy(np.repeat(np.arange(len(chosen)), chosen.lengths))
            scores[row, torch.from_numpy(chosen.values)] = float("-inf")
        best = scores.topk(min(k, scores.shape[1]), 1)
        lists.append(torch.where(torch.isinf(best.values), 0, best.indices).numpy())
    return np.concatenate(lists)


def judge(scorer: Scorer, layout: Layout, problem: Problem) -> dict[str, float]:
    """Return the layout's metrics, averaged over the problem's queries."""
    found = ranking_metrics.hits(top_lists(scorer, problem.queries, layout.k, layout.exclude_seen), problem.relevant)
    return {name: float(metric(found, problem.relevant.lengths).mean()) for name, metric in layout.metrics.items()}


def thinned(problem: Problem, most: int) -> Problem:
    """Return the problem with at most about `most` of its queries, evenly spaced."""
    kept = np.arange(0, len(problem.queries), max(1, -(-len(problem.queries) // most)))
    return Problem(
        train=problem.train, queries=problem.queries.take(kept), relevant=problem.relevant.take(kept)
    )  # fmt: skip


def criterion(found: dict[str, float]) -> float:
    """Return the validation criterion: the geometric mean of the layout's metrics, which have different scales.

    Raises:
        DataError: a metric is not finite.
    """
    decided = float(np.prod(list(found.values())) ** (1 / len(found)))
    if not np.isfinite(decided):
        raise DataError(f"validation's metrics are {found}", "see that scores and interactions are finite")
    return decided
