"""Metrics of search results: graded relevance, vectorised over queries, and the similarity of two result lists.

Results beyond a list's end have grade 0 and are not judged. Recall and reciprocal rank: ranking_metrics.py.
"""

from collections.abc import Sequence

import numpy as np


def gains(grades: np.ndarray) -> np.ndarray:
    """Gain of each grade, 2^grade - 1 (Burges et al., Learning to Rank using Gradient Descent, 2005)."""
    return np.exp2(grades) - 1.0


def graded_ndcg_at_k(grades: np.ndarray, judged: np.ndarray, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain with graded relevance, float64 [queries]; NaN without a grade above 0.

    Source: Jaervelin and Kekaelaeinen, Cumulated Gain-Based Evaluation of IR Techniques, 2002.

    Args:
        grades: float [queries, positions], grade of the result at each position; 0 where it is not judged.
        judged: float [queries, judgments], all grades of each query, or at least its k highest, in any order; 0 where
            it has fewer.
        k: Number of positions.
    """
    ideal = _discounted(-np.sort(-judged, 1), k)
    return np.divide(_discounted(grades, k), ideal, out=np.full(len(ideal), np.nan), where=ideal > 0)


def _discounted(grades: np.ndarray, k: int) -> np.ndarray:
    first = grades[:, :k]
    return gains(first) @ (1.0 / np.log2(np.arange(2, first.shape[1] + 2)))


def judged_at_k(judged: np.ndarray, k: int) -> np.ndarray:
    """Judged results in the first k positions divided by k, float64 [queries].

    Args:
        judged: bool [queries, positions], whether the result at each position has a judgment.
        k: Number of positions.
    """
    return judged[:, :k].sum(1) / k


def result_overlap_at_k(one: Sequence[str], other: Sequence[str], k: int) -> float:
    """Results in the first k positions of both lists divided by those of the longer one; 1 for two empty lists."""
    first, second = set(one[:k]), set(other[:k])
    longer = max(len(first), len(second))
    return len(first & second) / longer if longer else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], persistence: float) -> float:
    """Similarity of two rankings, 0 to 1, in which the first positions count most; 1 for two empty lists.

    Extrapolated from the known positions, also of lists of different lengths: RBO_ext, equation 32 of Webber, Moffat
    and Zobel, A Similarity Measure for Indefinite Rankings, 2010.

    Args:
        one: Distinct ids, best first.
        other: Distinct ids, best first.
        persistence: p of the paper, above 0 and below 1: the weight of a position relative to that before it.
    """
    short, long = sorted((one, other), key=len)
    if not short:
        return float(not long)
    size, depth = len(short), len(long)
    common = _common(short, long)
    place = np.arange(1, depth + 1)
    weight = persistence**place
    beyond = place[size:]
    known = (common / place) @ weight
    extended = common[size - 1] * ((beyond - size) / (size * beyond)) @ weight[size:]
    tail = (common[-1] - common[size - 1]) / depth + common[size - 1] / size
    return float((1 - persistence) / persistence * (known + extended) + tail * weight[-1])


def _common(short: Sequence[str], long: Sequence[str]) -> np.ndarray:
    """Number of ids in the first d positions of both lists, for d = 1 ... the longer length."""
    first_seen = {name: at for at, name in enumerate(short)}
    both = [max(at, first_seen[name]) for at, name in enumerate(long) if name in first_seen]
    return np.cumsum(np.bincount(both, minlength=len(long))).astype(np.float64)
