"""All items that a query matches, not only the best: what is counted, sorted and paged.

An item matches by the rules of `CatalogSearch.find`: its coverage of the query beside that of the best allowed item.
"""

from dataclasses import dataclass

import numpy as np

from components.shared.search.searching import AS_ASKED, LEAST_COVERAGE, CatalogSearch
from components.shared.search.understanding import Understanding
from components.shared.text.analyzer import Alternative, Word


@dataclass(frozen=True)
class Matched:
    """Items that a query matches among those that are allowed.

    Attributes:
        mask: bool [items], items that match.
        rank_class: int8 [items], see searching.Found; 0 for items that do not match.
    """

    mask: np.ndarray
    rank_class: np.ndarray

    @property
    def as_asked(self) -> np.ndarray:
        """Items of the classes above 0, bool [items]: they cover the query as well as any, or are what it names."""
        return self.rank_class > 0


class Matching:
    """Coverage of one query by all items, from which the matches among any allowed items follow.

    Args:
        search: Search of the catalog.
        query: The query.
    """

    def __init__(self, search: CatalogSearch, query: Understanding):
        self._search, self._query = search, query
        self._coverage = _coverage(search, query)
        self._exact = search.index.exact(query.query)

    def within(self, allowed: np.ndarray) -> Matched:
        """Items of `allowed`, bool [items], that the query matches; its prices are left out if no item has them."""
        matched = self._within(self._search.allowed(self._query, allowed))
        if not matched.mask.any() and self._query.intents.priced:
            matched = self._within(self._search.allowed(self._query, allowed, price=False))
        return matched

    def _within(self, allowed: np.ndarray) -> Matched:
        coverage = np.where(allowed, self._coverage, np.float32(0))
        best = coverage.max(initial=np.float32(0))
        mask = (coverage > 0) & (coverage >= LEAST_COVERAGE * best)
        rank_class = ((coverage > 0) & (coverage >= AS_ASKED * best)).astype(np.int8)
        exact = self._exact[allowed[self._exact]]
        mask[exact], rank_class[exact] = True, 2
        return Matched(mask, rank_class)


def _coverage(search: CatalogSearch, query: Understanding) -> np.ndarray:
    """Share of the query's idf that every item covers, float32 [items]: SearchIndex.coverage of all of them.

    The arithmetic is that of SearchIndex.coverage, in its order, so that both agree to the last bit.
    """
    index = search.index
    covered, total = np.zeros(index.postings.documents), 0.0
    for word in query.words:
        idf = index.idf(word) * word.weight
        covered += idf * _matched(search, word)
        total += idf
    return (covered / total if total else covered).astype(np.float32)


def _matched(search: CatalogSearch, word: Word) -> np.ndarray:
    """Weight of the best alternative that every item holds, float64 [items]."""
    best = np.zeros(search.index.postings.documents)
    for alternative in word.alternatives:
        rows = _holding(search, alternative)
        best[rows] = np.maximum(best[rows], alternative.weight)
    return best


def _holding(search: CatalogSearch, alternative: Alternative) -> np.ndarray:
    """Rows of the items that hold all terms of an alternative in one field."""
    postings = search.index.postings
    first, *others = sorted(alternative.terms, key=postings.frequency)
    rows = postings.items_of(first, 0xFF)
    fields = postings.fields_of(first, rows)
    for term in others:
        fields = fields & postings.fields_of(term, rows)
    return rows[fields > 0]
