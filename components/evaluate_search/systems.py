"""The searches that are measured: plain BM25, the search of the product over a catalog, and the answers of a model."""

import dataclasses
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path

import bm25s
import numpy as np
import pyarrow as pa

from components.evaluate_search.catalog import SearchCatalog
from components.shared.evaluation.search_systems import SearchSystem
from components.shared.features.columns import ItemStatistic
from components.shared.features.vocabulary import read_queries
from components.shared.recommender.recommender import Recommender
from components.shared.release.trust import trusted
from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch, read_options
from components.shared.search.understanding import Understanding

# bm25s logs every index that it builds at level DEBUG, regardless of the root logger's level.
logging.getLogger("bm25s").setLevel(logging.WARNING)

BASELINE, PRODUCT, CHAMPION = "bm25", "shoprank", "champion"
"""Names of the systems."""

# Not those of the product's tokenizer, so that the baseline stays the same when that one changes.
_DEFAULTS = SearchOptions()
_CJK = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_PIECES = re.compile(rf"[a-z0-9]+|[{_CJK}]+")


def plain_tokens(text: str) -> list[str]:
    """Lower-case ASCII words; single characters and pairs of Chinese, Japanese and Korean.

    >>> plain_tokens("USB-C Cables 牛奶")
    ['usb', 'c', 'cables', '牛', '奶', '牛奶']
    """
    tokens: list[str] = []
    for piece in _PIECES.findall(text.lower()):
        tokens.extend([piece] if piece.isascii() else [*piece, *map("".join, pairwise(piece))])
    return tokens


def catalog_systems(catalog: SearchCatalog, options: SearchOptions) -> dict[str, SearchSystem]:
    """The baseline and the product's search over a catalog, by name."""
    return {BASELINE: PlainBm25(catalog), PRODUCT: ProductSearch(catalog, options=options)}


class PlainBm25:
    """BM25 (k1 1.2, b 0.75, Lucene's idf) over title and description, without stemming, fields or weights.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """

    def __init__(self, catalog: SearchCatalog):
        self._catalog = catalog
        documents = [plain_tokens(text) for text in catalog.texts("title", "description")]
        self._index = bm25s.BM25(k1=1.2, b=0.75)
        # bm25s needs a token; a catalog without any gets one that no query matches.
        self._index.index(documents if any(documents) else [["\0"]] * len(documents), show_progress=False)

    def search(self, query: str, count: int) -> list[str]:
        """Items with a word of the query."""
        return _best(self._scores(query), count, self._catalog)

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """The given items by score."""
        return _ranked(self._scores(query), item_ids, self._catalog)

    def _scores(self, query: str) -> np.ndarray:
        known = [token for token in plain_tokens(query) if token in self._index.vocab_dict]
        return self._index.get_scores(known) if known else np.zeros(len(self._catalog), np.float32)


def catalog_search(catalog: SearchCatalog, options: SearchOptions = _DEFAULTS) -> CatalogSearch:
    """Index a catalog in a temporary folder, whose files stay mapped into memory when it is gone."""
    return _indexed(catalog.table, catalog.facts(), options)


def _indexed(
    items: pa.Table | Path, facts: ItemFacts, options: SearchOptions, queries: Mapping[str, float] | None = None
) -> CatalogSearch:
    asked = None if facts.asked is None else facts.asked.tolist()
    with tempfile.TemporaryDirectory(prefix="shoprank-") as folder:
        CatalogSearch.build(lambda: read_documents(items), Path(folder), options, asked, queries)
        return CatalogSearch.load(Path(folder), facts, 0)


class ProductSearch:
    """The search of the product over a catalog, without a ranker.

    Args:
        catalog: Items to index.
        verbatim: Whether queries are taken as they are written.
        options: How the catalog is indexed and ranked.
    """

    def __init__(self, catalog: SearchCatalog, verbatim: bool = False, options: SearchOptions = _DEFAULTS):
        self._catalog, self.searched, self._verbatim = catalog, catalog_search(catalog, options), verbatim
        self._options = options

    def with_search(self, search: CatalogSearch) -> "ProductSearch":
        """The same with another search of the same items."""
        changed = copy(self)
        changed.searched = search
        return changed

    def unstemmed(self) -> CatalogSearch:
        """The search over an index of words as they are written, with the vectors and the model that it has."""
        own = self._options
        plain = SearchOptions(language=own.language, stemming=False, synonyms=own.synonyms)
        return self.searched.with_words_of(catalog_search(self._catalog, plain))

    def search(self, query: str, count: int) -> list[str]:
        """What the query finds."""
        return self._ids(self.searched.find(self._read(query), count).item)

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """See CatalogSearch.rank."""
        rows = np.array([self._catalog.row_of[name] for name in item_ids], np.int64)
        read = self._read(query)
        return self._ids(self.searched.rank(read, rows))

    def _read(self, query: str) -> Understanding:
        return self.searched.understand(query, self._verbatim)

    def _ids(self, rows: np.ndarray) -> list[str]:
        return [self._catalog.item_id[row] for row in rows.tolist()]


class ModelSearch:
    """The answers of a bundle to a shopper without history, at the end of its data, among available items.

    Args:
        bundle: A bundle folder.
        public_key: Public key file to verify it; empty: its files are verified, and native code is not run.

    Raises:
        BundleError: the bundle is incomplete or not trusted.
        InputError: the key cannot be read.
    """

    def __init__(self, bundle: Path, public_key: str = ""):
        self.version = trusted(bundle, public_key).version
        self._recommender = Recommender.open(bundle)
        spec = self._recommender.spec
        self._shopper = self._recommender.store.before(np.zeros(1), np.array([spec.as_of]), spec.max_history)
        self._ids = self._recommender.catalog.item_id.to_pylist()
        self._bundle = bundle

    @property
    def searched(self) -> CatalogSearch:
        """Its search."""
        assert self._recommender.search is not None
        return self._recommender.search

    def with_search(self, search: CatalogSearch) -> "ModelSearch":
        """The same model with another search of the same items."""
        changed = copy(self)
        changed._recommender = dataclasses.replace(self._recommender, search=search)
        return changed

    def unstemmed(self) -> CatalogSearch:
        """See ProductSearch.unstemmed."""
        own, statistics = read_options(self._bundle / "search"), self._recommender.statistics
        facts = ItemFacts(self._recommender.catalog.list_price, statistics[:, ItemStatistic.POPULARITY_LONG])
        plain = SearchOptions(language=own.language, stemming=False, synonyms=own.synonyms)
        rebuilt = _indexed(self._bundle / "items.parquet", facts, plain, read_queries(self._bundle))
        return self.searched.with_words_of(rebuilt)

    def lacking(self, item_ids: Sequence[str]) -> int:
        """Number of the items that the bundle's catalog lacks, which it can never find."""
        return sum(name not in self._recommender.catalog.row_of for name in item_ids)

    def search(self, query: str, count: int) -> list[str]:
        """The answer; items that match no word, if none does; nothing for a query without a word."""
        return self._answer(query, count, self._recommender.catalog.available)

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """The answer among the given items, then the items that it lacks."""
        row_of = self._recommender.catalog.row_of
        allowed = np.zeros(len(self._ids), bool)
        allowed[[row_of[name] for name in item_ids if name in row_of]] = True
        return list(dict.fromkeys([*self._answer(query, len(item_ids), allowed), *item_ids]))

    def _answer(self, query: str, count: int, allowed: np.ndarray) -> list[str]:
        read = self._recommender.understood(query)
        # The predictor recommends for a query without a word.
        if read is None or not read.words or not allowed.any():
            return []
        (ranking,) = self._recommender.rank(self._shopper, count, [query], allowed)
        return [self._ids[row] for row in ranking.item.tolist() if row]


def _best(scores: np.ndarray, count: int, catalog: SearchCatalog) -> list[str]:
    """Items with a score above 0, best first; ties are sorted by row."""
    matching = np.flatnonzero(scores > 0)
    if len(matching) > count:
        # Only those that are at least as good as the last result are sorted.
        least = np.partition(scores[matching], len(matching) - count)[len(matching) - count]
        matching = matching[scores[matching] >= least]
    order = matching[np.argsort(-scores[matching], kind="stable")][:count]
    return [catalog.item_id[row] for row in order.tolist()]


def _ranked(scores: np.ndarray, item_ids: Sequence[str], catalog: SearchCatalog) -> list[str]:
    found = scores[[catalog.row_of[name] for name in item_ids]]
    return [item_ids[int(at)] for at in np.argsort(-found, kind="stable")]
