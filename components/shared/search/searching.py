"""Search of one catalog: understands a query and finds the items that it asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.search.candidates import By, CandidateFeatures, ItemFacts, SearchCandidates
from components.shared.search.config import SearchOptions, parse_synonyms
from components.shared.search.dense import Asked, DenseIndex
from components.shared.search.documents import Document, Field
from components.shared.search.found import AS_ASKED, LEAST_COVERAGE, Found, rank_classes
from components.shared.search.index import Matches, SearchIndex
from components.shared.search.labels import FIELD_OF, Labels
from components.shared.search.learned import build_learned, load_learned
from components.shared.search.phrases import catalog_phrases
from components.shared.search.query_log import QueryLog
from components.shared.search.relevance import PERSONAL, RelevanceModel
from components.shared.search.steps import EVERY_STEP, STEPS, SearchSteps
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
_MEANT = 100
"""Items that the dense leg adds where no item covers the query."""
_RANKED = 1_000
"""Items with the best scores of the words that a relevance model ranks at least."""
_EXCLUDED_FROM = Field.TITLE | Field.BRAND | Field.CATEGORY | Field.ATTRIBUTES


_DEFAULTS = SearchOptions()


class CatalogSearch:
    """Search of a catalog.

    Args:
        index, words, labels: Of the catalog.
        facts: Of its items.
        dense: Its dense leg, or None.
        model: What ranks the items that a query finds; None: the score of the words.
        synonyms: Rules, see SearchOptions.
        steps: Which steps it has; what was given for a step that is off is not used.
    """

    def __init__(
        self, index: SearchIndex, words: CatalogWords, labels: Labels, facts: ItemFacts,
        dense: DenseIndex | None = None, model: RelevanceModel | None = None, synonyms: Sequence[str] = (),
        steps: SearchSteps = EVERY_STEP,
    ):  # fmt: skip
        self._parts: dict[str, Any] = {
            "index": index, "words": words, "labels": labels, "facts": facts, "dense": dense, "model": model,
            "synonyms": synonyms, "steps": steps,
        }  # fmt: skip
        self._steps, self._price = steps, facts.price
        self.index = index if steps.field_weights else index.with_equal_fields()
        self.dense, self._model = dense if steps.meaning else None, model if steps.relevance else None
        rules = Synonyms(parse_synonyms(synonyms if steps.synonyms else ()), index)
        self._reader = QueryReader(index, words, labels, rules, steps)
        self._features = CandidateFeatures(index, facts)
        self.suggestions: Suggestions | None = None
        known = np.sort(self._price[np.isfinite(self._price)])
        self._cheapness = 1 - np.searchsorted(known, np.nan_to_num(self._price, nan=np.inf)) / max(len(known), 1)

    @staticmethod
    def build(
        documents: Callable[[], Iterator[Document]], folder: Path, options: SearchOptions = _DEFAULTS,
        weights: Sequence[float] | None = None, queries: Mapping[str, float] | None = None,
        previous: Path | None = None,
    ) -> None:  # fmt: skip
        """Write the index of a catalog into an empty folder.

        Args:
            documents: Its items, row by row; called several times, so that none need be kept.
            folder: Where to write.
            options: Language, synonyms, encoder and relevance model.
            weights: How often each item is asked for, which decides between two words that a misspelt one may be.
            queries: Number of searches by query: what is suggested, and which words a misspelt one may be.
            previous: An earlier folder, from which encoder, vectors and relevance model are taken.

        Raises:
            InputError: the encoder or the relevance model cannot be read.
        """
        analyzer = Analyzer(options.language, options.stemming)
        write_json(folder / _OPTIONS, options.to_json())
        index = SearchIndex.build(documents(), folder, analyzer)
        (folder / _WORDS).mkdir()
        texts = (" ".join(map(one.text, Field)) for one in documents())
        log = QueryLog.of(queries or {}, index, Synonyms(parse_synonyms(options.synonyms), index))
        CatalogWords.build(texts, folder / _WORDS, analyzer, weights, log.words, log.by_synonym)
        Labels.of(documents(), index).save(folder / _LABELS)
        Suggestions(catalog_phrases(documents, index, weights, log.queries)).save(folder)
        build_learned(documents(), folder, options, previous)

    @classmethod
    def load(cls, folder: Path, facts: ItemFacts, threads: int = 1) -> "CatalogSearch":
        """Open what `build` wrote; `facts` as for the class, `threads` of the encoder.

        Raises:
            BundleError: the index was written by another version.
        """
        index = SearchIndex.load(folder)
        words = CatalogWords.load(folder / _WORDS, index.analyzer)
        options = read_options(folder)
        dense, model = load_learned(folder, options, threads)
        search = cls(index, words, Labels.load(folder / _LABELS), facts, dense, model, options.synonyms)
        search.suggestions = Suggestions.load(folder)
        return search

    def with_synonyms(self, synonyms: Sequence[str]) -> "CatalogSearch":
        """The same search with other rules."""
        return CatalogSearch(**{**self._parts, "synonyms": synonyms})

    def with_model(self, model: RelevanceModel | None) -> "CatalogSearch":
        """The same search ranked by another model, or by the score of the words."""
        return CatalogSearch(**{**self._parts, "model": model})

    def with_dense(self, dense: DenseIndex | None) -> "CatalogSearch":
        """The same search with another dense leg, or none."""
        return CatalogSearch(**{**self._parts, "dense": dense})

    def with_steps(self, steps: SearchSteps) -> "CatalogSearch":
        """The same search with some steps."""
        return CatalogSearch(**{**self._parts, "steps": steps})

    def with_words_of(self, other: "CatalogSearch") -> "CatalogSearch":
        """The same search over the words of another index of the same items."""
        return CatalogSearch(**{**self._parts, **{name: other._parts[name] for name in ("index", "words", "labels")}})

    def used(self) -> frozenset[str]:
        """Steps that can make a difference: without rules, vectors or a model, theirs cannot."""
        given = {"synonyms": "synonyms", "meaning": "dense", "relevance": "model"}
        return frozenset(
            step for step in STEPS if getattr(self._steps, step) and self._parts.get(given.get(step, "index"))
        )

    @property
    def personal_weight(self) -> float | None:
        """See relevance.PERSONAL; None: the model has learned none."""
        return None if self._model is None else self._model.weights.get(PERSONAL)

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

        A query that no item fits is relaxed: its prices are left out, then the words that the first item lacks. Where
        no item has all its words, items are also found by what they mean.
        """
        found = self.candidates(query, count if self._model is None else max(count, _RANKED), allowed)
        if not len(found.matches.item):
            return Found(found.matches.item, found.matches.score, np.zeros(0, np.int8))
        score, rank_class = self._ranked(query, found)
        item = found.matches.item
        # Equal scores, such as of trees, stay in the order of the words.
        order = np.lexsort((-score, -rank_class))[:count]
        relaxed = list(found.relaxed)
        for word in query.words:
            if self.index.known(word) and not self.index.matched(word, item[order[:1]])[0]:
                relaxed.append(word.text)
        return Found(item[order], score[order].astype(np.float32), rank_class[order], tuple(relaxed), found.by)

    def rank(self, query: Understanding, rows: np.ndarray) -> np.ndarray:
        """Given rows, best first, those without a word or a meaning of the query last and in the order given."""
        allowed = np.zeros(len(self._price), bool)
        allowed[rows] = True
        matches = self._matches(query, len(rows), allowed)
        found = SearchCandidates(self._with(matches, query, rows), self._asked(query))
        score, rank_class = self._ranked(query, found)
        within = self.allowed(query, allowed)[found.matches.item]
        by_row = np.argsort(rows)
        place = by_row[np.searchsorted(rows[by_row], found.matches.item)]
        return found.matches.item[np.lexsort((place, -score, -rank_class, ~within))]

    def candidates(self, query: Understanding, count: int, allowed: np.ndarray | None = None) -> SearchCandidates:
        """At most `count` items that have the words of a query, and where none has all, those that mean it."""
        everything = np.ones(len(self._price), bool) if allowed is None else allowed
        left = self.allowed(query, everything)
        found = self._both_legs(query, count, left)
        if not len(found.matches.item) and query.intents.priced and self._steps.relaxing:
            found = self._both_legs(query, count, self.allowed(query, everything, price=False))
            relaxed = ("price",) * bool(len(found.matches.item))
            return SearchCandidates(found.matches, found.asked, found.by, relaxed)
        return found

    def features(self, query: Understanding, found: SearchCandidates) -> np.ndarray:
        """See CandidateFeatures.of."""
        return self._features.of(query, found)

    def _both_legs(self, query: Understanding, count: int, allowed: np.ndarray) -> SearchCandidates:
        matches, asked = self._matches(query, count, allowed), self._asked(query)
        best = matches.coverage.max(initial=0)
        covers = (matches.coverage >= LEAST_COVERAGE * best) | matches.exact | (not self._steps.coverage)
        if not self._steps.relaxing:
            covers &= matches.exact | self._has_all(query, matches.item)
        matches = matches.take(np.flatnonzero(covers), matches.score)
        if asked is None or best >= AS_ASKED or matches.exact.any():
            return SearchCandidates(matches, asked)
        by: By = "words and meaning" if len(matches.item) else "meaning"
        meant = asked.best(_MEANT, allowed)
        more = self._with(matches, query, meant)
        return SearchCandidates(more, asked, by if len(more.item) > len(matches.item) else "words")

    def _has_all(self, query: Understanding, items: np.ndarray) -> np.ndarray:
        """Whether each item has every word of a query, bool [n]; words such as 'for' may be missing."""
        needed = [self.index.matched(word, items) > 0 for word in query.words if word.weight >= 1]
        return np.logical_and.reduce([np.ones(len(items), bool), *needed])

    def _asked(self, query: Understanding) -> Asked | None:
        return self.dense.ask(query.written) if self.dense and query.words else None

    def _with(self, matches: Matches, query: Understanding, rows: np.ndarray) -> Matches:
        """The matches, and those of some rows that are none of them."""
        more = np.setdiff1d(rows, matches.item)
        none = np.zeros(len(more))
        coverage = self.index.coverage(query.words, more).astype(np.float32)
        return Matches(
            np.concatenate([matches.item, more]), np.concatenate([matches.score, none]).astype(np.float32),
            np.concatenate([matches.coverage, coverage]), np.concatenate([matches.exact, none > 0]),
        )  # fmt: skip

    def _ranked(self, query: Understanding, found: SearchCandidates) -> tuple[np.ndarray, np.ndarray]:
        """Scores, float64 above 0 for what has a word or the meaning, and classes of candidates; see Found."""
        matches = found.matches
        if self._model is None:
            score = matches.score.astype(np.float64)
            if found.asked is not None and not score.any():
                score = np.maximum(found.asked.scores(matches.item), 0)
        else:
            relevance = self._model.relevance(self.features(query, found))
            score = np.exp(relevance - relevance.max(initial=-np.inf))
        return score, rank_classes(matches) if self._steps.coverage else 2 * matches.exact.astype(np.int8)

    def _matches(self, query: Understanding, count: int, allowed: np.ndarray | None) -> Matches:
        matches = self.index.search(query.query, query.words, count, allowed, self._steps.coverage)
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
