"""Candidates with the inputs of the ranker, and what it makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.shared.features.ragged import Ragged, offsets_of
from components.shared.recommender.candidates import Candidates
from components.shared.search.searching import Found


@dataclass(frozen=True)
class Ranking:
    """Ranked items of one row, best first.

    Attributes:
        item: int64 [n], catalog rows.
        score: float32 [n], score that determines the order.
        source: int64 [n], Source flags.
        lexical: float32 [n], score of the search.
        tasks: float32 [n, len(Task)], the ranker's probabilities.
        dense: float32 [n, len(DenseInput)].
        rank_class: int8 [n], see search.Found; whatever orders the items further keeps the higher class first.
    """

    item: np.ndarray
    score: np.ndarray
    source: np.ndarray
    lexical: np.ndarray
    tasks: np.ndarray
    dense: np.ndarray
    rank_class: np.ndarray

    def take(self, positions: np.ndarray) -> "Ranking":
        """Return the given positions, in that order."""
        return Ranking(**{name: values[positions] for name, values in vars(self).items()})

    @classmethod
    def joined(cls, parts: Sequence["Ranking"]) -> "Ranking":
        """Concatenate rankings of one row."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@dataclass(frozen=True)
class RankerBatch:
    """Candidates with all inputs of the ranker.

    Attributes:
        found: the candidates.
        features: user features by name, one row per history; {} where they are not needed.
        user: the same features padded and concatenated: ids and weights.
        dense: float32 [pairs, dense features].
        searches: what each row's query found; None for rows without a query.
        known: bool [rows], whether the shopper has any event.
    """

    found: Candidates
    features: dict[str, Ragged]
    user: tuple[np.ndarray, np.ndarray]
    dense: np.ndarray
    searches: tuple[Found | None, ...]
    known: np.ndarray

    def row(self, row: int) -> "RankerBatch":
        """One row by itself, without its features by name; arrays are copied."""
        starts = self.found.starts(len(self.known))
        at = slice(starts[row], starts[row + 1])
        found = Candidates(**{name: values[at].copy() for name, values in vars(self.found).items()})
        found.row[:] = 0
        ids, weights = self.user_of(row)
        user = ids.copy(), weights.copy()
        known = self.known[row : row + 1].copy()
        return RankerBatch(found, {}, user, self.dense[at].copy(), (self.searches[row],), known)

    def user_of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The ranker's inputs of one row's shopper, ids and weights [1, width]."""
        ids, weights = self.user
        return ids[row : row + 1], weights[row : row + 1]

    @classmethod
    def joined(cls, parts: Sequence["RankerBatch"]) -> "RankerBatch":
        """Concatenate the rows of all parts, in order, without their features by name."""
        if len(parts) == 1:
            return parts[0]
        first = offsets_of(np.array([len(part.user[0]) for part in parts]))
        names = ("item", "source", "lexical", "rank_class")
        columns = [np.concatenate([getattr(part.found, name) for part in parts]) for name in names]
        row = np.concatenate([part.found.row + start for part, start in zip(parts, first[:-1], strict=True)])
        user = np.concatenate([part.user[0] for part in parts]), np.concatenate([part.user[1] for part in parts])
        dense = np.concatenate([part.dense for part in parts])
        searches = tuple(search for part in parts for search in part.searches)
        known = np.concatenate([part.known for part in parts])
        return cls(Candidates(row, *columns), {}, user, dense, searches, known)
