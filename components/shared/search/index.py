"""Fielded lexical index of a catalog (tantivy's BM25), fed with the terms of our analyzer.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009); fields as a maximum with
a tie breaker, Lucene's DisjunctionMaxQuery.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tantivy

from components.shared.errors import BundleError
from components.shared.search.documents import Document, Field
from components.shared.search.postings import Postings, PostingsBuilder
from components.shared.search.tantivy_folder import ROW, OpenIndex, create_index
from components.shared.storage import read_json, write_json
from components.shared.text.analyzer import ANALYZER_VERSION, Alternative, Analyzer, Terms, Word
from components.shared.text.scripts import fold

FIELD_WEIGHTS = {
    Field.TITLE: 2.0, Field.BRAND: 1.5, Field.CATEGORY: 1.0, Field.ATTRIBUTES: 0.7, Field.DESCRIPTION: 0.7
}  # fmt: skip
"""Weight of a match in each field."""
_TIE_BREAKER = 0.3
"""Share of what the other fields add to the best one."""
_CODE, _WHOLE_TITLE = "code", "whole_title"
_CODE_NAMES = re.compile(
    r"(?i)(?<![a-z])(sku|ean|gtin|upc|mpn|isbn|asin|barcode|(part|model)[ _-]?(no|number))(?![a-z])"
)
"""Attributes that are codes of an item."""
_NOT_CODE = re.compile(r"[\W_]+")
_META = "analyzer.json"
_FORMS = "_FORMS"
"""Ending of the fields of other forms of words, which are apart, so that they do not lengthen a text."""


@dataclass(frozen=True)
class Matches:
    """Items that match a query, best first; ties are in order of their rows.

    Attributes:
        item: int64 [n], item rows.
        score: float32 [n], BM25 times coverage.
        coverage: float32 [n], share of the query's idf in the item, 0 to 1.
        exact: bool [n], items whose code or whole title the query is.
    """

    item: np.ndarray
    score: np.ndarray
    coverage: np.ndarray
    exact: np.ndarray

    def take(self, order: np.ndarray, score: np.ndarray) -> "Matches":
        """Return the matches in an order, with other scores, given in the present one."""
        return Matches(self.item[order], score[order].astype(np.float32), self.coverage[order], self.exact[order])


_FLAG = {f"{field.name}{ending}": int(field) for field in Field for ending in ("", _FORMS)}
_CACHED = 200_000
_PARTS_READ = 1_000
"""Levels or attributes of an item that are read."""


class SearchIndex:
    """Index of the items of a catalog."""

    def __init__(
        self, analyzer: Analyzer, index: OpenIndex, postings: Postings, weights: Mapping[Field, float] = FIELD_WEIGHTS
    ):
        self.analyzer, self.postings, self._index, self._weights = analyzer, postings, index, weights

    def with_equal_fields(self) -> "SearchIndex":
        """The same index, in which a match in any field weighs 1."""
        return SearchIndex(self.analyzer, self._index, self.postings, dict.fromkeys(FIELD_WEIGHTS, 1.0))

    @classmethod
    def build(cls, documents: Iterable[Document], folder: Path, analyzer: Analyzer) -> "SearchIndex":
        """Index documents, row i being the i-th, into an empty folder."""
        postings, count = PostingsBuilder(), 0
        # Most items share their brand, categories and attributes with others, many even the title.
        analysed, key = functools.lru_cache(_CACHED)(analyzer.terms), functools.lru_cache(_CACHED)(analyzer.key)
        with create_index(_schema(), folder) as writer:
            for count, document in enumerate(documents, 1):
                terms = _terms(document, analysed)
                postings.add((_FLAG[name], words) for name, words in terms.items())
                texts = {name: " ".join(words) for name, words in terms.items() if words}
                whole = {_CODE: _codes(document), _WHOLE_TITLE: key(document.title)}
                writer.add_document(tantivy.Document(**texts, **whole, **{ROW: count - 1}))
        postings.build().save(folder)
        write_json(folder / _META, {"version": ANALYZER_VERSION, "language": analyzer.language,
                                    "stemming": analyzer.stemming, "documents": count})  # fmt: skip
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "SearchIndex":
        """Open an index, which may be in a read-only folder.

        Raises:
            BundleError: it was written by another version of the analyzer.
        """
        meta = read_json(folder / _META)
        if meta["version"] != ANALYZER_VERSION:
            raise BundleError(f"the search index {folder} has analyzer version {meta['version']}, not "
                              f"{ANALYZER_VERSION}", "compile the model again with this shoprank version")  # fmt: skip
        return cls(
            Analyzer(meta["language"], meta.get("stemming", True)),
            OpenIndex(folder),
            Postings.load(folder, meta["documents"]),
        )

    def search(
        self, query: str, words: Sequence[Word], count: int, allowed: np.ndarray | None = None, by_coverage: bool = True
    ) -> Matches:
        """Find the best `count` items of a query.

        Args:
            query: As it was asked: it may be the code or the title of an item.
            words: Words of the query.
            count: Number of items.
            allowed: bool [items], items that may be returned.
            by_coverage: Whether the score is BM25 times coverage, or BM25 alone.
        """
        exact = self.exact(query)
        exact = exact if allowed is None else exact[allowed[exact]]
        item, score = self._retrieve(words, count, allowed)
        more = np.setdiff1d(exact, item)
        item, score = np.concatenate([item, more]), np.concatenate([score, np.zeros(len(more))])
        coverage = self.coverage(words, item)
        matches = Matches(item, score, coverage.astype(np.float32), np.isin(item, exact))
        score = score * coverage if by_coverage else score
        return matches.take(np.lexsort((item, -score, ~matches.exact))[:count], score)

    def coverage(self, words: Sequence[Word], items: np.ndarray) -> np.ndarray:
        """Share of the query's idf that each item covers, float64 [n]; 0 for a query without words."""
        covered, total = np.zeros(len(items)), 0.0
        for word in words:
            idf = self.idf(word) * word.weight
            covered += idf * self.matched(word, items)
            total += idf
        return covered / total if total else covered

    def field_coverage(self, words: Sequence[Word], items: np.ndarray) -> np.ndarray:
        """Share of the query's idf that each item has within one field, float64 [n, fields]."""
        covered, total = np.zeros((len(items), len(Field))), 0.0
        bits = np.array([int(field) for field in Field], np.uint8)
        for word in words:
            best = np.zeros_like(covered)
            for alternative in word.alternatives:
                fields = self._fields_holding(alternative, items)
                np.maximum(best, alternative.weight * ((fields[:, None] & bits) > 0), out=best)
            idf = self.idf(word) * word.weight
            covered += idf * best
            total += idf
        return covered / total if total else covered

    def idf(self, word: Word) -> float:
        """Rarity of a word: of its most frequent alternative, as that of synonyms (Lucene's SynonymQuery)."""
        return self.postings.idf(max(map(self._frequency, word.alternatives)))

    def _frequency(self, alternative: Alternative) -> int:
        """Largest number of items that may hold an alternative."""
        return min(map(self.postings.frequency, alternative.terms))

    def known(self, word: Word) -> bool:
        """Whether an alternative of a word has terms that all are somewhere in the catalog."""
        return any(map(self._frequency, word.alternatives))

    def matched(self, word: Word, items: np.ndarray, within: int = 0xFF) -> np.ndarray:
        """Weight of the best alternative that each item holds in one of some fields, float64 [n]; 0 for none."""
        best = np.zeros(len(items))
        for alternative in word.alternatives:
            fields = self._fields_holding(alternative, items) & np.uint8(within)
            best = np.maximum(best, np.where(fields > 0, alternative.weight, 0.0))
        return best

    def _fields_holding(self, alternative: Alternative, items: np.ndarray) -> np.ndarray:
        """Flags of the fields in which each item holds all terms of an alternative, uint8 [n]."""
        fields = np.full(len(items), 0xFF, np.uint8)
        for term in alternative.terms:
            fields &= self.postings.fields_of(term, items)
        return fields

    def holding(self, words: Sequence[Word], within: int) -> np.ndarray:
        """Rows of the items that hold the first alternative of every word in one of some fields, ascending."""
        return self._holding_all([term for word in words for term in word.alternatives[0].terms], within)

    def _holding_all(self, terms: Sequence[str], within: int) -> np.ndarray:
        """Rows of the items that hold every term in one of some fields, ascending; none for no term."""
        if not terms:
            return np.zeros(0, np.int64)
        rarest, *others = sorted(set(terms), key=self.postings.frequency)
        rows = self.postings.items_of(rarest, within)
        for term in others:
            rows = rows[(self.postings.fields_of(term, rows) & np.uint8(within)) > 0]
        return rows

    def holding_term(self, term: str) -> np.ndarray:
        """Rows of the items that hold a term, ascending."""
        return self.postings.items_of(term, 0xFF)

    def together(self, terms: Sequence[str]) -> int:
        """Number of items that hold all terms."""
        return len(self._holding_all(terms, 0xFF))

    def exact(self, query: str) -> np.ndarray:
        """Rows of the items whose code (id, SKU, EAN ...) or whole title a query is."""
        schema = self._index.schema
        either = [(_CODE, code(query)), (_WHOLE_TITLE, self.analyzer.key(query))]
        parts = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, name, value, "basic"))
            for name, value in either if value
        ]  # fmt: skip
        return self._index.search(tantivy.Query.boolean_query(parts), _RERANKED)[0] if parts else np.zeros(0, np.int64)

    def _retrieve(self, words: Sequence[Word], count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows and BM25 scores of the best allowed items."""
        query, limit = self._query(words), max(count, _RERANKED)
        while True:
            rows, scores = self._index.search(query, limit)
            kept = np.ones(len(rows), bool) if allowed is None else allowed[rows]
            if len(rows) < limit or kept.sum() >= count:
                return rows[kept], scores[kept]
            limit *= 8

    def _query(self, words: Sequence[Word]) -> tantivy.Query:
        return tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Should, tantivy.Query.boost_query(self._word(word), word.weight))
                for word in words
                if self.known(word)
            ]
        )

    def _word(self, word: Word) -> tantivy.Query:
        idf, parts = self.idf(word), []
        for one in word.alternatives:
            if frequency := self._frequency(one):
                # A rare form of a word is as important as the word, not as rare words are.
                weight = one.weight * min(1.0, idf / self.postings.idf(frequency))
                parts += [
                    tantivy.Query.boost_query(query, weight * of_field)
                    for field, of_field in self._weights.items() for query in self._alternative(one, field)
                ]  # fmt: skip
        return tantivy.Query.disjunction_max_query(parts, _TIE_BREAKER)

    def _alternative(self, alternative: Alternative, field: Field) -> list[tantivy.Query]:
        """Queries of which one suffices; terms may be in either part of the field: 鞋 and 跑 of 跑步鞋."""
        either = [self._term(term, field) for term in alternative.terms]
        if len(either) == 1:
            return either[0]
        every = [(tantivy.Occur.Must, tantivy.Query.disjunction_max_query(parts)) for parts in either]
        return [tantivy.Query.boolean_query(every)]

    def _term(self, term: str, field: Field) -> list[tantivy.Query]:
        """A term in the two parts of a field."""
        names = (str(field.name), f"{field.name}{_FORMS}")
        return [tantivy.Query.term_query(self._index.schema, name, term, "freq") for name in names]


_RERANKED = 2_000
"""Items whose coverage is computed; BM25 chooses them."""


def _schema() -> tantivy.SchemaBuilder:
    builder = tantivy.SchemaBuilder()
    for field in Field:
        for name in (str(field.name), f"{field.name}{_FORMS}"):
            builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    for name in (_CODE, _WHOLE_TITLE):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    return builder


def _terms(document: Document, analysed: Callable[[str], Terms]) -> dict[str, list[str]]:
    """Terms of an item by the name of the field that they are indexed in."""
    terms: dict[str, list[str]] = {}
    for field in Field:
        found = [analysed(text) for text in islice(document.parts(field), _PARTS_READ)]
        if found:
            # 'thenorthface' is The North Face.
            brand = analysed(code(document.brand)).plain if field is Field.BRAND else []
            terms[str(field.name)] = [term for one in found for term in one.plain]
            terms[f"{field.name}{_FORMS}"] = [*(term for one in found for term in one.forms), *brand]
    return terms


def code(text: str) -> str:
    """A code without what people leave out of it: 'WH-1000 XM4' is 'wh1000xm4'."""
    return _NOT_CODE.sub("", fold(text))


def _codes(document: Document) -> list[str]:
    given = [document.item_id, *(value for name, value in document.attributes if _CODE_NAMES.search(name))]
    return list(dict.fromkeys(filter(None, map(code, given))))
