"""Explanations of answers: short reasons for shoppers, and the detailed explanation returned by `:explain`."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.columns import POPULARITY_WINDOWS, DenseInput, ItemStatistic, dense_inputs
from components.shared.features.history import Histories
from components.shared.features.shopper import item_interest
from components.shared.features.spec import DAY, FeatureSpec
from components.shared.recommender.batches import Ranking
from components.shared.recommender.candidates import Source
from components.shared.recommender.exported_models import ItemInputs, Models
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import target_probability
from components.shared.schema.tables import EVENT_TYPES
from components.shared.search.index import SearchIndex
from components.shared.search.understanding import Understanding

MAX_REASONS = 3
_OFTEN = 0.02
"""Minimum share of a shopper's event weight for 'you often buy from' a category."""
_POPULAR = 0.95
"""Quantile of target events among items with any, above which an item is called popular."""
_DUE = 0.6
"""Minimum of the 'due' feature at which the shopper's usual time between purchases has nearly passed."""
_DONE = {"search": "searched for", "impression": "shown", "view": "viewed", "cart": "put in the cart",
         "purchase": "bought"}  # fmt: skip


def _enough(counts: np.ndarray) -> float:
    """Minimum number of target events of a popular item."""
    return max(2.0, float(np.quantile(counts[counts > 0], _POPULAR))) if counts.any() else np.inf


FEATURE_GROUPS = {
    "own history with the item": dense_inputs(DenseInput.BOUGHT_BEFORE, DenseInput.ANY_RECENCY_7),
    "what kind of shopper": dense_inputs(DenseInput.USER_EVENTS, DenseInput.USER_PACE),
    "how the shop treats the item": dense_inputs(DenseInput.POPULARITY_SHORT, DenseInput.DISCOVERY_SHARE),
    "price": dense_inputs(DenseInput.PRICE, DenseInput.HAS_PRICE),
    "category and brand affinity": dense_inputs(DenseInput.CATEGORY_ROOT, DenseInput.LEAF_TIMES),
    "goes with what the shopper has": dense_inputs(DenseInput.SIMILAR, DenseInput.SIMILAR_SHARE),
    "retrieval score": (DenseInput.RETRIEVAL_SCORE,),
}
"""Dense inputs of the ranker by topic; a contribution is the change when the inputs of the topic are set to 0."""


@dataclass(frozen=True)
class Case:
    """Input of the explainer for one answer.

    Attributes:
        histories: one row, the shopper's. ranking: the answer. query: '' for a recommendation.
    """

    histories: Histories
    ranking: Ranking
    query: Understanding | None

    @property
    def known(self) -> bool:
        """Whether the shopper has any events."""
        return bool(self.histories.offsets[-1])


class Explainer:
    """Explains answers from the catalog and its statistics.

    Args:
        catalog: Titles and categories.
        statistics: float32 [items, len(ItemStatistic)].
        neighbours: Items that are bought together.
        spec: Target event and popularity windows.
        index: Search index of the catalog.
    """

    def __init__(
        self, catalog: Catalog, statistics: np.ndarray, neighbours: Neighbours, spec: FeatureSpec, index: SearchIndex
    ):
        self._catalog, self._statistics, self._spec = catalog, statistics, spec
        self._neighbours, self._index = neighbours, index
        self._done = _DONE[spec.target_event]
        self._popular_from = [_enough(np.asarray(statistics[:, window])) for window in POPULARITY_WINDOWS]

    def reasons(self, case: Case) -> list[list[str]]:
        """At most three reasons for every answered item, the most specific first."""
        matches = self._matches(case)
        nearest = self._nearest_own(case)
        answers = []
        for position, item in enumerate(case.ranking.item.tolist()):
            dense: list[float] = case.ranking.dense[position].tolist()
            source = int(case.ranking.source[position])
            found = [
                matches[position],
                self._record(item, case.histories),
                self._due(dense),
                self._category(item, dense),
                self._popular(item) or self._trending(item, source),
                self._goes_with(nearest[position], dense) or self._discovery(dense, source, case),
            ]
            chosen = [reason for reason in found if reason][:MAX_REASONS]
            answers.append(chosen or [self._fallback(item, source, case)])
        return answers

    def _matches(self, case: Case) -> list[str]:
        """Reason from the words of the query that each answered item has, or that it was found without; '' for none."""
        items = case.ranking.item
        if case.query is None:
            return [""] * len(items)
        words = case.query.words
        met = [self._index.matched(word, items) > 0 for word in words]
        found = []
        for position in range(len(items)):
            texts = [word.text for word, has in zip(words, met, strict=True) if has[position]]
            text = case.query.text if len(texts) == len(words) else " ".join(texts)
            by_meaning = bool(case.ranking.source[position] & Source.LEXICAL)
            other = f"has the meaning of '{_short(case.query.text)}'" if by_meaning else ""
            found.append(f"matches '{_short(text)}'" if texts else other)
        return found

    def _record(self, item: int, histories: Histories) -> str:
        """Reason from the shopper's events with the item: target events, else the latest event; '' without events."""
        at = np.flatnonzero(histories.item == item)
        if not len(at):
            return ""
        target = at[histories.event_type[at] == EVENT_TYPES.index(self._spec.target_event)]
        if len(target):
            ago = _ago(histories.now[0] - histories.timestamp[target[-1]])
            if len(target) == 1:
                return f"{self._done} once, {ago}"
            return f"{self._done} {len(target)} times, {'last' if ago[0].isdigit() else 'most recently'} {ago}"
        done = _DONE[EVENT_TYPES[int(histories.event_type[at[-1]])]]
        return f"{done} {_ago(histories.now[0] - histories.timestamp[at[-1]])}"

    def _due(self, dense: list[float]) -> str:
        if dense[DenseInput.DUE] < _DUE or dense[DenseInput.DAYS_BOUGHT] < np.log1p(3):
            return ""
        return "about time to buy it again" if self._spec.target_event == "purchase" else "about time for it again"

    def _category(self, item: int, dense: list[float]) -> str:
        if dense[DenseInput.CATEGORY_LEAF] < _OFTEN:
            return ""
        path = self._path(item)
        verb = "buy from" if self._spec.target_event == "purchase" else "look at"
        return f"you often {verb} {path[-1]}" if path else ""

    def _popular(self, item: int) -> str:
        """Reason for the shortest window in which the item is popular, or ''."""
        counts = self._statistics[item, list(POPULARITY_WINDOWS)].tolist()
        windows = zip(self._spec.popularity_days, counts, self._popular_from, strict=True)
        for days, count, enough in windows:
            if count >= enough:
                when = "this week" if days == 7 else f"in the last {days} days"
                return f"popular {when}: {count:,.0f} {self._spec.target_event}s"
        return ""

    def _trending(self, item: int, source: int) -> str:
        """Reason for a hot candidate whose decayed popularity is among the highest, or ''."""
        if not source & Source.HOT:
            return ""
        return "trending now" if self._statistics[item, ItemStatistic.POPULARITY_DECAYED] >= self._trending_from else ""

    @functools.cached_property
    def _trending_from(self) -> float:
        return _enough(np.asarray(self._statistics[:, ItemStatistic.POPULARITY_DECAYED]))

    def _nearest_own(self, case: Case) -> list[int]:
        """For every answered item, the most similar item of the shopper's history, 0 for none."""
        _, own, weight = item_interest(case.histories, self._spec)
        return self._neighbours.most_similar_own(own, weight, case.ranking.item).tolist()

    def _goes_with(self, other: int, dense: list[float]) -> str:
        title = self._title(other) if other else ""
        return f"new to you; goes with {_short(title, 40)}" if title and not dense[DenseInput.ANY_WEIGHT] else ""

    def _discovery(self, dense: list[float], source: int, case: Case) -> str:
        if not case.known or dense[DenseInput.ANY_WEIGHT] > 0 or not source & Source.RETRIEVED:
            return ""
        return f"new to you; similar to what you {'buy' if self._spec.target_event == 'purchase' else 'look at'}"

    def _fallback(self, item: int, source: int, case: Case) -> str:
        if source & Source.PINNED:
            return "chosen by the shop"
        if case.query:
            return f"close in meaning to '{_short(case.query.text)}'"
        if not source:
            return self._popular(item) or "one of all items"
        return self._popular(item) or ("fits your taste" if case.known else "a good start for new shoppers")

    def _title(self, item: int) -> str:
        return self._catalog.title[item].as_py() or ""

    def _path(self, item: int) -> list[str]:
        return [name for name in self._catalog.categories[item].as_py() or [] if name]

    def account(self, case: Case, models: Models, inputs: "PairInputs") -> list[dict[str, Any]]:
        """The detailed explanation of every answered item, as returned by `:explain`.

        `contributions` holds, for every topic, the drop of the probability when the topic's inputs are set to 0 and
        all others are kept (leave-one-group-out).
        """
        ranking = case.ranking
        full = target_probability(ranking.tasks, ranking.dense)
        drops = {name: full - self._without(ranking, columns, models, inputs)
                 for name, columns in FEATURE_GROUPS.items()}  # fmt: skip
        accounts = []
        for position in range(len(ranking.item)):
            dense = zip(DenseInput, ranking.dense[position].tolist(), strict=True)
            accounts.append({
                "sources": [flag.name.lower() for flag in Source if flag.name and ranking.source[position] & flag],
                "retrieval_score": float(ranking.dense[position, DenseInput.RETRIEVAL_SCORE]),
                "lexical_score": float(ranking.lexical[position]),
                "probabilities": dict(zip(models.tasks, ranking.tasks[position].tolist(), strict=True)),
                "features": {column.label: round(value, 6) for column, value in dense if value},
                "contributions": {name: round(float(drop[position]), 6) for name, drop in drops.items()},
            })  # fmt: skip
        return accounts

    def _without(
        self, ranking: Ranking, columns: Sequence[DenseInput], models: Models, inputs: "PairInputs"
    ) -> np.ndarray:
        dense = ranking.dense.copy()
        dense[:, list(columns)] = 0
        row = np.zeros(len(dense), np.int64)
        # The task is chosen by the unmodified features, so that all probabilities are of the same event.
        return target_probability(models.task_probabilities(inputs.user, inputs.item, row, dense), ranking.dense)


@dataclass(frozen=True)
class PairInputs:
    """The ranker's sparse inputs of one shopper and the answered items.

    Attributes:
        user: ids int64 and weights float32 [1, width]. item: see Recommender.item_inputs.
    """

    user: tuple[np.ndarray, np.ndarray]
    item: ItemInputs


def _short(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _ago(seconds: float) -> str:
    days = int(seconds // DAY)
    if days < 1:
        return "today"
    return "yesterday" if days == 1 else f"{days} days ago"
