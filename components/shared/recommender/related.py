"""Items related to others: similar ones, and those that the same shoppers bought."""

from dataclasses import dataclass

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.vector_index import VectorIndex
from components.shared.search.index import SearchIndex
from components.shared.text.analyzer import Word

_VECTOR, _TEXT, _BUYERS = 0.4, 0.4, 0.2
"""Weights of the cosine of two items' vectors, of the share of the words of the one in the other, and of the similarity
by common buyers, which is often that of things that are used together: less of it is in the likeness of two items."""
_MOST_WORDS = 25
"""Rarest words of an item by which others are compared with it, as in Lucene's MoreLikeThis."""


@dataclass(frozen=True)
class Related:
    """Items related to others, best first.

    Attributes:
        item: int64 [n], catalog rows, without those they are related to.
        score: float32 [n], 0 to 1.
    """

    item: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class RelatedItems:
    """Finds related items of one catalog.

    Attributes:
        catalog: The items. vectors: Their vectors. neighbours: Similarities by common buyers. search: Their words.
    """

    catalog: Catalog
    vectors: VectorIndex
    neighbours: Neighbours
    search: SearchIndex

    def similar(self, seed: int, allowed: np.ndarray, count: int) -> Related:
        """Items like another: near by vector, with the words of its title, brand and last category, or with its buyers.

        Args:
            seed: Catalog row.
            allowed: bool [items], items that may be returned.
            count: Number of items, of the answer and of each source.
        """
        allowed = _without(allowed, [seed])
        vector = self.vectors.vectors(np.array([seed]))[0, :-1]
        near = self.vectors.nearest(vector, count, allowed)
        with_words = self.search.search("", self._words(seed), count, allowed).item
        bought, _ = self._neighbours([seed])
        rows = np.unique(np.concatenate([near, with_words, bought[allowed[bought]]]))
        return _best(rows[rows > 0], self.likeness(seed, rows[rows > 0]), count)

    def likeness(self, seed: int, rows: np.ndarray) -> np.ndarray:
        """How like an item others are, float32 [n], 0 to 1: see `similar`.

        Args:
            seed: Catalog row.
            rows: int64 [n], catalog rows.
        """
        if not len(rows):
            return np.zeros(0, np.float32)
        vectors = self.vectors.vectors(np.append(rows, seed))[:, :-1]
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        cosine = np.maximum(unit[:-1] @ unit[-1], 0)
        words = self.search.coverage(self._words(seed), rows)
        bought, similarity = self._neighbours([seed])
        common = np.zeros(len(self.catalog), np.float32)
        common[bought] = similarity
        return (_VECTOR * cosine + _TEXT * words + _BUYERS * common[rows]).astype(np.float32)

    def bought_with(self, basket: list[int], allowed: np.ndarray, count: int) -> Related:
        """Items that the buyers of a basket's items bought too, whenever: the mean cosine of common buyers.

        It is no rule of single orders: the bundle holds who bought what, not what was in an order together. Items with
        few buyers have no neighbours (features.similarity.min_shoppers).

        Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms (2004).

        Args:
            basket: Catalog rows.
            allowed: bool [items], items that may be returned.
            count: Number of items.
        """
        rows, similarity = self._neighbours(basket)
        kept = _without(allowed, basket)[rows] & (similarity > 0)
        return _best(rows[kept], similarity[kept] / max(len(basket), 1), count)

    def _neighbours(self, basket: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours of items, ascending, with the sum of their similarities."""
        matrix = self.neighbours.similarity
        spans = [slice(matrix.indptr[row], matrix.indptr[row + 1]) for row in basket]
        parts = [matrix.indices[span].astype(np.int64) for span in spans]
        rows, at = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]), return_inverse=True)
        weights = np.concatenate([np.zeros(0, np.float32), *(matrix.data[span] for span in spans)])
        return rows, np.bincount(at, weights, len(rows)).astype(np.float32)

    def _words(self, seed: int) -> list[Word]:
        """The rarest words of an item."""
        path = self.catalog.categories[seed].as_py() or [""]
        texts = (self.catalog.title[seed].as_py(), self.catalog.brand[seed].as_py(), path[-1])
        words = self.search.analyzer.words(" · ".join(filter(None, texts)))
        different = {word.alternatives[0].terms: word for word in words if self.search.known(word)}
        return sorted(different.values(), key=lambda word: -self.search.idf(word) * word.weight)[:_MOST_WORDS]


def _without(allowed: np.ndarray, rows: list[int]) -> np.ndarray:
    kept = allowed.copy()
    kept[rows] = False
    return kept


def _best(rows: np.ndarray, score: np.ndarray, count: int) -> Related:
    order = np.lexsort((rows, -score))[:count]
    return Related(rows[order], score[order].astype(np.float32))
