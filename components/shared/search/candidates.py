"""Candidates of a query from both legs of the search, and what the relevance model reads of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.shared.search.dense import Asked
from components.shared.search.documents import Field
from components.shared.search.index import Matches, SearchIndex
from components.shared.search.relevance import FEATURES, lexical_features, price_feature
from components.shared.search.understanding import Understanding

By = Literal["words", "meaning", "words and meaning"]
"""What found the items of an answer."""


@dataclass(frozen=True)
class ItemFacts:
    """What the search knows of items apart from their texts; None where nothing is known.

    Attributes:
        price: float32 [items], NaN when unknown.
        asked: float [items], how often each is asked for, such as its buyers.
        available: bool [items].
        created_at: float64 [items], epoch seconds, NaN when unknown.
    """

    price: np.ndarray
    asked: np.ndarray | None = None
    available: np.ndarray | None = None
    created_at: np.ndarray | None = None

    def popularity(self) -> np.ndarray:
        """Share of the items that are asked for less, float64 [items]; 0 where that is not known."""
        if self.asked is None:
            return np.zeros(len(self.price))
        return np.searchsorted(np.sort(self.asked), self.asked, side="left") / max(len(self.asked), 1)

    def freshness(self) -> np.ndarray:
        """Share of the items of known age that are older, float64 [items]; 0 where its own age is not known."""
        if self.created_at is None:
            return np.zeros(len(self.price))
        known = np.isfinite(self.created_at)
        older = np.searchsorted(np.sort(self.created_at[known]), self.created_at, side="left")
        return np.where(known, older, 0) / max(int(known.sum()), 1)


@dataclass(frozen=True)
class SearchCandidates:
    """Items that may answer a query.

    Attributes:
        matches: They, with the scores of the lexical leg, 0 for those that only the dense leg has.
        asked: The query of the dense leg; None without it.
        by: What found them.
        relaxed: See Found.
    """

    matches: Matches
    asked: Asked | None = None
    by: By = "words"
    relaxed: tuple[str, ...] = ()


class CandidateFeatures:
    """Computes the inputs of the relevance model; see relevance.FEATURES."""

    def __init__(self, index: SearchIndex, facts: ItemFacts):
        self._index, self._price = index, facts.price
        self._popularity, self._freshness = facts.popularity(), facts.freshness()
        known = facts.available
        self._available = np.zeros(len(facts.price)) if known is None else known.astype(np.float64)

    def of(self, query: Understanding, found: SearchCandidates) -> np.ndarray:
        """Features of candidates, float64 [n, len(FEATURES)]."""
        matches, rows = found.matches, found.matches.item
        lexical, log_lexical = lexical_features(matches.score.astype(np.float64))
        by_field = self._index.field_coverage(query.words, rows)
        columns = {
            "lexical": lexical, "log_lexical": log_lexical,
            "meaning": np.zeros(len(rows)) if found.asked is None else found.asked.scores(rows),
            "coverage": matches.coverage, "exact": matches.exact,
            **{str(field.name).lower(): by_field[:, at] for at, field in enumerate(Field)},
            "price": price_feature(self._price[rows]),
            "popularity": self._popularity[rows], "available": self._available[rows],
            "freshness": self._freshness[rows],
        }  # fmt: skip
        return np.stack([np.asarray(columns[name], np.float64) for name in FEATURES], 1)
