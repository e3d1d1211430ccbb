"""Search of one catalog: understands a query and finds the items that it asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.shared.search.config import SearchOptions, parse_synonyms
from components.shared.search.documents import Document, Field
from components.shared.search.index import Matches, SearchIndex
from components.shared.search.labels import FIELD_OF, Labels
from components.shared.search.phrases import catalog_phrases
from components.shared.search.suggestions import Suggestions
from components.shared.search.synonyms import Synonyms
from components.shared.search.understanding import QueryReader, Understanding
from components.shared.search.vocabulary import CatalogWords
from components.shared.storage import read_json, write_json
from components.shared.text.analyzer import Analyzer, Word

_NAMED = 1.2
"""Factor of the score of items whose brand, category or attribute the query names."""
_STATED_FREE = 1.5
"""Factor of the score of items that say that they are free of what the query excludes; others may not tell."""
_PREFERRED = ("brand", "category")
_CHEAP = 0.3
"""Share by which the dearest item's score is lowered when low prices are asked for."""
LEAST_COVERAGE = 0.4
"""Items that cover less than this share of what the best item covers are not found."""
AS_ASKED = 0.9
"""Items that cover at least this share of what the best item covers come before the others, whoever asks."""
_EXCLUDED_FROM = Field.TITLE | Field.BRAND | Field.CATEGORY | Field.ATTRIBUTES


@dataclass(frozen=True)
class Found:
    """Items that a query asks for, best first.

    Attributes:
        item: int64 [n], item rows.
        score: float32 [n].
        rank_class: int8 [n], 2 for the item whose code or title was asked for, 1 for one that covers the query as
            well as any, else 0; whatever ranks the items keeps the higher class first.
        relaxed: What was left out of the query, as no item fits all of it, in the order in which it was.
    """

    item: np.ndarray
    score: np.ndarray
    rank_class: np.ndarray
    relaxed: tuple[str, ...] = field(default=())

    def first(self, count: int, others: Sequence[np.ndarray]) -> "Found":
        """The best `count` items, and of the rest those that other sources have too, such as a shopper's own."""
        if len(self.item) <= count:
            return self
        keep = np.isin(self.item, np.concatenate(others)) if others else np.zeros(len(self.item), bool)
        keep[:count] = True
        return Found(self.item[keep], self.score[keep], self.rank_class[keep], self.relaxed)


_DEFAULTS = SearchOptions()


class CatalogSearch:
    """Search of a catalog.

    Args:
        index, words, labels: Of the catalog.
        price: float32 [items], NaN when unknown.
        synonyms: Rules, see SearchOptions.
    """

    def __init__(
        self, index: SearchIndex, words: CatalogWords, labels: Labels, price: np.ndarray,
        synonyms: Sequence[str] = (),
    ):  # fmt: skip
        self.index, self._words, self._labels, self._price = index, words, labels, price
        self._reader = QueryReader(index, words, labels, Synonyms(parse_synonyms(synonyms), index))
        self.suggestions: Suggestions | None = None
        known = np.sort(price[np.isfinite(price)])
        self._cheapness = 1 - np.searchsorted(known, np.nan_to_num(price, nan=np.inf)) / max(len(known), 1)

    @staticmethod
    def build(
        documents: Callable[[], Iterator[Document]], folder: Path, options: SearchOptions = _DEFAULTS,
        weights: Sequence[float] | None = None, queries: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """Write the index of a catalog into an empty folder.

        Args:
            documents: Its items, row by row; called several times, so that none need be kept.
            folder: Where to write.
            options: Language and synonyms.
            weights: How often each item is asked for, which decides between two words that a misspelt one may be.
            queries: Number of searches by query, which are suggested to those who type.
        """
        analyzer = Analyzer(options.language)
        write_json(folder / _OPTIONS, options.to_json())
        index = SearchIndex.build(documents(), folder, analyzer)
        (folder / _WORDS).mkdir()
        texts = (" ".join(map(one.text, Field)) for one in documents())
        CatalogWords.build(texts, folder / _WORDS, analyzer, weights)
        Labels.of(documents(), index).save(folder / _LABELS)
        Suggestions(catalog_phrases(documents, index, weights, queries)).save(folder)

    @classmethod
    def load(cls, folder: Path, price: np.ndarray) -> "CatalogSearch":
        """Open what `build` wrote; `price` as for the class.

        Raises:
            BundleError: the index was written by another version.
        """
        index = SearchIndex.load(folder)
        words = CatalogWords.load(folder / _WORDS, index.analyzer)
        search = cls(index, words, Labels.load(folder / _LABELS), price, read_options(folder).synonyms)
        search.suggestions = Suggestions.load(folder)
        return search

    def with_synonyms(self, synonyms: Sequence[str]) -> "CatalogSearch":
        """The same search with other rules."""
        return CatalogSearch(self.index, self._words, self._labels, self._price, synonyms)

    def understand(self, query: str, verbatim: bool = False) -> Understanding:
        """See QueryReader.read."""
        return self._reader.read(query, verbatim)

    def allowed(self, query: Understanding, allowed: np.ndarray, price: bool = True) -> np.ndarray:
        """Items that a query's prices and exclusions leave.

        Args:
            query: The query.
            allowed: bool [items], items that may be returned.
            price: Whether prices count.
        """
        intents = query.intents
        kept = allowed.copy()
        if price and intents.priced:
            low, high = intents.price_min or 0.0, np.inf if intents.price_max is None else intents.price_max
            # An unknown price, NaN, is within no bounds.
            kept &= (self._price >= low) & (self._price <= high)
        for word in intents.without:
            excluded = self.index.holding(self.index.analyzer.words(word), _EXCLUDED_FROM)
            free = self.index.holding_term(self.index.analyzer.free_of(word))
            kept[np.setdiff1d(excluded, free)] = False
        return kept

    def find(self, query: Understanding, count: int, allowed: np.ndarray | None = None) -> Found:
        """Find the best `count` items of a query.

        A query that no item fits is relaxed: its prices are left out, then the words that the first item lacks.
        """
        relaxed: list[str] = []
        everything = np.ones(len(self._price), bool) if allowed is None else allowed
        matches = self._matches(query, count, self.allowed(query, everything))
        if not len(matches.item) and query.intents.priced:
            matches = self._matches(query, count, self.allowed(query, everything, price=False))
            relaxed += ["price"] * bool(len(matches.item))
        if not len(matches.item):
            return Found(matches.item, matches.score, np.zeros(0, np.int8))
        best = matches.coverage.max()
        rank_class = np.where(matches.coverage >= AS_ASKED * best, 1, 0).astype(np.int8)
        rank_class[matches.exact] = 2
        order = np.flatnonzero((matches.coverage >= LEAST_COVERAGE * best) | matches.exact)
        order = order[np.argsort(-rank_class[order], kind="stable")][:count]
        for word in query.words:
            if self.index.known(word) and not self.index.matched(word, matches.item[order[:1]])[0]:
                relaxed.append(word.text)
        return Found(matches.item[order], matches.score[order], rank_class[order], tuple(relaxed))

    def _matches(self, query: Understanding, count: int, allowed: np.ndarray | None) -> Matches:
        matches = self.index.search(query.query, query.words, count, allowed)
        score = matches.score.astype(np.float64)
        for label, words in query.labels:
            if label.kind in _PREFERRED:
                named = self._named(words, FIELD_OF[label.kind], matches.item)
                score *= np.where(named, _NAMED, 1.0)
        for word in query.intents.without:
            stated = np.isin(matches.item, self.index.holding_term(self.index.analyzer.free_of(word)))
            score *= np.where(stated, _STATED_FREE, 1.0)
        if query.intents.cheap:
            score *= 1 - _CHEAP * (1 - self._cheapness[matches.item])
        order = np.lexsort((matches.item, -score, ~matches.exact))
        return matches.take(order, score)

    def _named(self, words: tuple[Word, ...], of: Field, items: np.ndarray) -> np.ndarray:
        return np.logical_and.reduce([self.index.matched(word, items, of) > 0 for word in words])


def read_options(folder: Path) -> SearchOptions:
    """Options that an index was built with."""
    return SearchOptions.read(read_json(folder / _OPTIONS), "search")


_OPTIONS = "options.json"
_WORDS, _LABELS = "words", "labels.arrow"
