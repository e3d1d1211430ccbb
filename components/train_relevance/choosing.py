"""Chooses how a relevance model is fitted, and estimates it, by nested cross-validation over queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from components.shared.search.relevance import FEATURES, RelevanceModel
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery, fit
from components.train_relevance.lambdamart import booster, exported

Family = Literal["linear", "lambdamart"]


@dataclass(frozen=True)
class Choice:
    """How a model is fitted.

    Attributes:
        l2: See fit. positive: See fit.
        trees: Number of trees of LambdaMART, for which the others mean nothing; 0: the linear model.
    """

    l2: float = 0.0
    positive: bool = False
    trees: int = 0

    @property
    def family(self) -> Family:
        """Kind of the model."""
        return "lambdamart" if self.trees else "linear"

    def fitted(self, queries: Sequence[JudgedQuery], features: Sequence[str]) -> RelevanceModel:
        """The model of some features; of weights of 0 if no query has a relevant candidate."""
        columns = [FEATURES.index(name) for name in features]
        if self.trees and any(query.grade.any() for query in queries):
            return RelevanceModel({}, {}, exported(booster(queries, columns, self.trees), columns))
        weights = fit(queries, columns, self.l2, self.positive)
        return RelevanceModel({name: float(one) for name, one in zip(features, weights, strict=True)}, {})


@dataclass(frozen=True)
class Estimate:
    """Cross-validated metrics of each query: of models that were neither fitted to it nor chosen by it.

    Attributes:
        ndcg: float64 [queries], nDCG@10, mean over the repeats. rerank: of the judged candidates alone.
        spread: standard deviation of the mean nDCG@10 over the repeats.
        families: nDCG@10 where the best of one family alone is chosen.
    """

    ndcg: np.ndarray
    rerank: np.ndarray
    spread: float
    families: Mapping[Family, np.ndarray]


def choices(options: RelevanceOptions, queries: int) -> list[Choice]:
    """What is chosen from for a number of queries, the simplest first."""
    linear = [Choice(l2, sign == "positive") for l2, sign in product(options.l2, options.signs)]
    enough = queries >= options.least_queries_for_trees
    return linear + [Choice(trees=trees) for trees in options.trees if enough]


def choose(
    queries: Sequence[JudgedQuery], among: Sequence[Choice], options: RelevanceOptions, seed: int
) -> dict[Family | None, Choice]:
    """The choice of each family, and of all (None), with the best mean nDCG@10 of held-out queries.

    Of equal ones it is the first.
    """
    found = np.zeros(len(among))
    if len(among) > 1:
        fold = folds_of(len(queries), options.folds, seed)
        for at, choice in enumerate(among):
            scores = np.zeros(len(queries))
            for part in range(options.folds):
                _score(queries, fold == part, choice, options, scores, None)
            found[at] = np.round(np.nanmean(scores), 6)
    best: dict[Family | None, Choice] = {None: among[int(np.argmax(found))]}
    for at in np.argsort(-found, kind="stable").tolist():
        best.setdefault(among[at].family, among[at])
    return best


def estimate(queries: Sequence[JudgedQuery], among: Sequence[Choice], options: RelevanceOptions) -> Estimate:
    """Metrics of held-out queries, the choice being made anew within each part."""
    families: list[Family] = list(dict.fromkeys(choice.family for choice in among))
    ndcg, rerank = np.zeros((2, options.repeats, len(queries)))
    alone: dict[Family, np.ndarray] = {family: np.zeros_like(ndcg) for family in families}
    for repeat in range(options.repeats):
        seed = options.seed + 1_000 * repeat
        fold = folds_of(len(queries), options.folds, seed)
        for part in range(options.folds):
            held = fold == part
            best = choose(_of(queries, ~held), among, options, seed + part + 1)
            _score(queries, held, best[None], options, ndcg[repeat], rerank[repeat])
            for family in families:
                if best[family] == best[None]:
                    alone[family][repeat, held] = ndcg[repeat, held]
                else:
                    _score(queries, held, best[family], options, alone[family][repeat], None)
    spread = float(np.nanmean(ndcg, 1).std())
    return Estimate(ndcg.mean(0), rerank.mean(0), spread, {family: each.mean(0) for family, each in alone.items()})


def folds_of(count: int, folds: int, seed: int) -> np.ndarray:
    """Part of each query, int64 [queries]."""
    return np.random.default_rng(seed).permutation(count) % folds


def _of(queries: Sequence[JudgedQuery], chosen: np.ndarray) -> list[JudgedQuery]:
    return [queries[at] for at in np.flatnonzero(chosen).tolist()]


def _score(
    queries: Sequence[JudgedQuery], held: np.ndarray, choice: Choice, options: RelevanceOptions, ndcg: np.ndarray,
    rerank: np.ndarray | None,
) -> None:  # fmt: skip
    """Fit without the queries that are held out, and write their metrics."""
    model = choice.fitted(_of(queries, ~held), options.features)
    for at in np.flatnonzero(held).tolist():
        score = model.relevance(queries[at].features)
        ndcg[at] = queries[at].ndcg(score)
        if rerank is not None:
            rerank[at] = queries[at].ndcg(score, judged_only=True)
