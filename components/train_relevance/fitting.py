"""Fits a linear listwise model: softmax cross-entropy of a query's candidates with their gains.

Source: Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach (ListNet, top-one), 2007.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from components.shared.evaluation.search_metrics import gains, graded_ndcg_at_k

_FIRST = 10


@dataclass(frozen=True)
class JudgedQuery:
    """A query's candidates.

    Attributes:
        features: float64 [candidates, len(FEATURES)], see relevance.FEATURES.
        grade: float64 [candidates], 0 for those without a judgment.
        judged: bool [candidates].
        rank_class: int8 [candidates], see search.Found: a model orders items within a class.
        words: float64 [candidates], the score of the words, which ranks without a model.
        grades: float64 [judgments], all grades of the query.
        query: The query. item: int64 [candidates], rows of the search.
    """

    features: np.ndarray
    grade: np.ndarray
    judged: np.ndarray
    rank_class: np.ndarray
    words: np.ndarray
    grades: np.ndarray
    query: str = ""
    item: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def ndcg(self, score: np.ndarray, judged_only: bool = False) -> float:
        """nDCG@10 of candidates ordered by a score; NaN without a relevant judgment.

        Args:
            score: float64 [candidates].
            judged_only: Whether the candidates without a judgment are left out.
        """
        order = np.lexsort((-score, -self.rank_class))
        order = order[self.judged[order]] if judged_only else order
        first = np.zeros(_FIRST)
        first[: len(order[:_FIRST])] = self.grade[order[:_FIRST]]
        return float(graded_ndcg_at_k(first[None], self.grades[None], _FIRST)[0])


def fit(queries: Sequence[JudgedQuery], columns: Sequence[int], l2: float, positive: bool) -> np.ndarray:
    """Weights of some columns of the features, float64 [columns].

    Args:
        queries: At least one; those without a relevant candidate teach nothing.
        columns: Of the features.
        l2: Penalty of the squared weights.
        positive: Whether no weight may be negative.
    """
    taught = [query for query in queries if query.grade.any()]
    inputs, width = [query.features[:, columns] for query in taught], len(columns)
    targets = [gains(query.grade) / gains(query.grade).sum() for query in taught]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total, gradient = 0.0, np.zeros(width)
        for features, target in zip(inputs, targets, strict=True):
            score = features @ weights
            score -= score.max()
            share = np.exp(score)
            total += np.log(share.sum()) - target @ score
            gradient += features.T @ (share / share.sum() - target)
        mean = 1 / max(len(taught), 1)
        return float(total * mean + l2 * (weights @ weights) / 2), gradient * mean + l2 * weights

    bounds = [(0.0, None)] * width if positive else None
    return minimize(loss, np.zeros(width), jac=True, method="L-BFGS-B", bounds=bounds).x
