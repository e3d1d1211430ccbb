"""Chooses how a relevance model is fitted, and estimates it, by nested cross-validation over queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery, fit


@dataclass(frozen=True)
class Choice:
    """How a model is fitted.

    Attributes:
        l2: See fit. positive: See fit.
    """

    l2: float
    positive: bool


@dataclass(frozen=True)
class Estimate:
    """Cross-validated metrics of each query: of models that were neither fitted to it nor chosen by it.

    Attributes:
        ndcg: float64 [queries], nDCG@10, mean over the repeats. rerank: of the judged candidates alone.
        spread: standard deviation of the mean nDCG@10 over the repeats.
    """

    ndcg: np.ndarray
    rerank: np.ndarray
    spread: float


def choose(queries: Sequence[JudgedQuery], options: RelevanceOptions, seed: int) -> Choice:
    """The choice with the best mean nDCG@10 of held-out queries; of equal ones the first."""
    choices = [Choice(l2, sign == "positive") for l2, sign in product(options.l2, options.signs)]
    if len(choices) == 1:
        return choices[0]
    fold = _folds(len(queries), options.folds, seed)
    found = []
    for choice in choices:
        scores = np.zeros(len(queries))
        for part in range(options.folds):
            _score(queries, fold, part, choice, scores, None)
        found.append(np.nanmean(scores))
    return choices[int(np.argmax(np.round(found, 6)))]


def estimate(queries: Sequence[JudgedQuery], options: RelevanceOptions) -> Estimate:
    """Metrics of held-out queries, the choice being made anew within each part."""
    ndcg, rerank = np.zeros((2, options.repeats, len(queries)))
    for repeat in range(options.repeats):
        seed = options.seed + 1_000 * repeat
        fold = _folds(len(queries), options.folds, seed)
        for part in range(options.folds):
            rest = [query for query, held in zip(queries, fold == part, strict=True) if not held]
            choice = choose(rest, options, seed + part + 1)
            _score(queries, fold, part, choice, ndcg[repeat], rerank[repeat])
    return Estimate(ndcg.mean(0), rerank.mean(0), float(np.nanmean(ndcg, 1).std()))


def _folds(count: int, folds: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count) % folds


def _score(
    queries: Sequence[JudgedQuery], fold: np.ndarray, part: int, choice: Choice, ndcg: np.ndarray,
    rerank: np.ndarray | None,
) -> None:  # fmt: skip
    """Fit without one part, and write the metrics of its queries."""
    weights = fit([queries[at] for at in np.flatnonzero(fold != part).tolist()], choice.l2, choice.positive)
    for at in np.flatnonzero(fold == part).tolist():
        score = queries[at].features @ weights
        ndcg[at] = queries[at].ndcg(score)
        if rerank is not None:
            rerank[at] = queries[at].ndcg(score, judged_only=True)
