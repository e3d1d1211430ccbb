"""Learns how much the shopper's ranker weighs beside the relevance, from what known shoppers clicked in answers.

A click is a choice among the items shown (McFadden's conditional logit), with the position's examination as an offset:

    log P(click) = scale * relevance + weight * log-odds + log P(examined | position) + constant of the answer
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from components.evaluate_search.config import SearchEvaluationOptions
from components.shared.evaluation.bootstrap import intervals
from components.shared.recommender.recommender import Recommender
from components.shared.search.relevance import RelevanceModel
from components.train_relevance.choosing import Choice, choose, folds_of
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery
from components.train_relevance.showings import read_showings, shopper_log_odds

_L2 = 0.003
_LEAST_SCALE = 0.1
_FIRST = 10


@dataclass(frozen=True)
class Shown:
    """A showing among the candidates of its query.

    Attributes:
        query: Place of the query among those judged. place: int64 [n], its items among the query's candidates.
        log_odds: float64 [n], see shopper_log_odds. clicks: float64 [n].
        examined: float64 [n], P(examined) of the positions.
    """

    query: int
    place: np.ndarray
    log_odds: np.ndarray
    clicks: np.ndarray
    examined: np.ndarray


@dataclass(frozen=True)
class PersonalWeight:
    """The outcome.

    Attributes:
        weight: See relevance.PERSONAL; None: there are too few showings.
        about: What is told of it.
    """

    weight: float | None
    about: dict[str, Any]


def personal_weight(
    source: str, recommender: Recommender, queries: list[JudgedQuery], model: RelevanceModel, among: Sequence[Choice],
    options: RelevanceOptions, examined: Mapping[int, float],
) -> PersonalWeight | None:  # fmt: skip
    """The weight beside a relevance model, and its worth by cross-validation over queries.

    Args:
        source: See read_showings.
        recommender: Of the bundle whose ranker is weighed.
        queries: All that the model learned from.
        model: Of the relevance.
        among: What a relevance model is chosen from.
        options: Of the training.
        examined: See position_bias.examined_positions.

    Returns:
        None if the source does not say who was shown what.

    Raises:
        InputError: see read_showings.
    """
    showings = read_showings(source, recommender)
    if showings is None:
        return None
    place_of = {query.query: at for at, query in enumerate(queries)}
    known = [showing for showing in showings if showing.query in place_of]
    found = []
    for showing, log_odds in zip(known, shopper_log_odds(recommender, known), strict=True):
        at = place_of[showing.query]
        _, place, kept = np.intersect1d(queries[at].item, showing.item, assume_unique=True, return_indices=True)
        if log_odds is not None and len(kept) > 1 and showing.clicks[kept].any():
            share = np.array([examined.get(one, 1.0) for one in showing.position[kept].tolist()])
            found.append(Shown(at, place, log_odds[kept], showing.clicks[kept], share))
    about: dict[str, Any] = {"personal_showings": len(found)}
    if len(found) < options.least_showings or len({one.query for one in found}) < 2 * options.folds:
        return PersonalWeight(None, about)
    return PersonalWeight(_fitted(queries, found, model), about | _worth(queries, found, among, options))


def _fitted(queries: list[JudgedQuery], shown: list[Shown], model: RelevanceModel) -> float:
    """The weight of the log-odds over the scale of the relevance, 0 or more."""
    relevance = [model.relevance(query.features) for query in queries]
    inputs = np.array([np.concatenate([relevance[one.query][one.place] for one in shown]),
                       np.concatenate([one.log_odds for one in shown])])  # fmt: skip
    offset = np.log(np.concatenate([one.examined for one in shown]))
    target = np.concatenate([one.clicks / one.clicks.sum() for one in shown])
    sizes = [len(one.place) for one in shown]
    starts, row = np.r_[0, np.cumsum(sizes)[:-1]], np.repeat(np.arange(len(shown)), sizes)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = weights @ inputs + offset
        score -= np.maximum.reduceat(score, starts)[row]
        share = np.exp(score)
        total = np.add.reduceat(share, starts)
        gradient = inputs @ (share / total[row] - target) / len(shown)
        apart = weights - [1.0, 0.0]
        mean = (np.log(total).sum() - target @ score) / len(shown)
        return float(mean + _L2 * (apart @ apart) / 2), gradient + _L2 * apart

    bounds = [(_LEAST_SCALE, None), (0.0, None)]
    scale, weight = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(weight / scale)


def _worth(
    queries: list[JudgedQuery], shown: list[Shown], among: Sequence[Choice], options: RelevanceOptions
) -> dict[str, Any]:
    """NDCG@10 of clicks over P(examined), by query, of models that saw neither the query nor its showings."""
    fold = folds_of(len(queries), options.folds, options.seed)
    ndcg = np.full((2, len(shown)), np.nan)
    for part in range(options.folds):
        rest = np.flatnonzero(fold != part).tolist()
        taught = [queries[at] for at in rest]
        model = choose(taught, among, options, options.seed + part + 1)[None].fitted(taught, options.features)
        weight = _fitted(queries, [one for one in shown if fold[one.query] != part], model)
        for at, one in enumerate(shown):
            if fold[one.query] == part:
                query = queries[one.query]
                relevance = model.relevance(query.features[one.place])
                for way, score in enumerate((relevance, relevance + weight * one.log_odds)):
                    ndcg[way, at] = _ndcg(score, query.rank_class[one.place], one.clicks / one.examined)
    at = np.array([one.query for one in shown])
    mean = np.array([ndcg[:, at == query].mean(1) for query in np.unique(at)])
    (gain,) = intervals((mean[:, 1] - mean[:, 0])[:, None], SearchEvaluationOptions().bootstrap)
    return {
        "impersonal_ndcg_at_10": round(float(mean[:, 0].mean()), 4),
        "personal_ndcg_at_10": round(float(mean[:, 1].mean()), 4),
        "personal_gain": [round(gain.mean, 4), round(gain.low, 4), round(gain.high, 4)],
    }


def _ndcg(score: np.ndarray, rank_class: np.ndarray, gain: np.ndarray) -> float:
    discount = 1 / np.log2(np.arange(min(len(gain), _FIRST)) + 2)
    order = np.lexsort((-score, -rank_class))[:_FIRST]
    return float(gain[order] @ discount / (np.sort(gain)[::-1][:_FIRST] @ discount))
