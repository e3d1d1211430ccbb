"""The search with a text encoder and learned relevance, on the judgments that it learns from.

Each query is answered by a model that was neither fitted to it nor chosen by it (nested cross-validation).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.systems import catalog_search
from components.shared.search.config import SearchOptions
from components.shared.search.searching import CatalogSearch
from components.train_relevance.choosing import choices, choose
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.train import judged_queries

SHIPPED_LIKE = RelevanceOptions(features=("lexical", "meaning"), l2=(0.01,), signs=("positive",))
"""How the shipped weights were learned, from all of these judgments."""


def encoded_search(catalog: SearchCatalog, encoder: Path) -> CatalogSearch:
    """The catalog's search with its dense leg."""
    return catalog_search(catalog, SearchOptions(encoder=str(encoder)))


class CrossValidatedSearch:
    """A search whose relevance model never saw the query.

    Args:
        catalog: Items. judgments: All of them. search: Of the catalog. options: How the models are trained.
    """

    def __init__(
        self, catalog: SearchCatalog, judgments: Judgments, search: CatalogSearch, options: RelevanceOptions
    ):  # fmt: skip
        self._catalog, self._fallback = catalog, search
        names = [query for query, grades in judgments.grades.items() if any(grades.values())]
        judged = judged_queries(search, judgments, catalog, options, 0)
        among = choices(options, len(judged))
        fold = np.random.default_rng(options.seed).permutation(len(judged)) % options.folds
        self._search: dict[str, CatalogSearch] = {}
        for part in range(options.folds):
            rest = [query for query, held in zip(judged, fold == part, strict=True) if not held]
            choice = choose(rest, among, options, options.seed + part + 1)[None]
            held_out = search.with_model(choice.fitted(rest, options.features))
            self._search |= {names[at]: held_out for at in np.flatnonzero(fold == part).tolist()}

    def search(self, query: str, count: int) -> list[str]:
        """What the query finds."""
        search = self._search.get(query, self._fallback)
        return self._ids(search.find(search.understand(query), count).item)

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """The given items, best first."""
        search = self._search.get(query, self._fallback)
        rows = np.array([self._catalog.row_of[name] for name in item_ids], np.int64)
        return self._ids(search.rank(search.understand(query), rows))

    def _ids(self, rows: np.ndarray) -> list[str]:
        return [self._catalog.item_id[row] for row in rows.tolist()]
