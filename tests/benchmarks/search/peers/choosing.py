"""Which way of putting queries suits an engine: chosen by cross-validation over queries."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.measuring import FIRST, measure, scored_queries
from tests.benchmarks.search.peers.asking import Engine, PeerSearch, Way

FOLDS = 5


class _FirstTen:
    """The first results alone, which is what the choice looks at."""

    def __init__(self, search: PeerSearch):
        self._search = search

    def search(self, query: str, count: int) -> list[str]:
        return self._search.search(query, min(count, FIRST))

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        return list(item_ids)


@dataclass(frozen=True)
class Choice:
    """The way for each query.

    Attributes:
        of_fold: Name of the way for the queries of each fold, the best on those of all other folds.
        best: The way that is best on all queries at once, and its nDCG@10: flattering, for the text alone.
    """

    of_fold: tuple[str, ...]
    best: tuple[str, float]

    def way(self, query: str) -> str:
        """Name of the way for a query; for a new one that of the fold into which it falls."""
        return self.of_fold[fold(query)]

    def words(self) -> str:
        """The choice in words."""
        folds = "; ".join(f"{name} ({count} of {FOLDS} folds)" for name, count in Counter(self.of_fold).most_common())
        return f"{folds}. The best on all queries at once, which is no fair figure: {self.best[0]}, {self.best[1]:.4f}"


def fold(query: str) -> int:
    """The fold of a query, which does not depend on the other queries."""
    return zlib.crc32(query.encode()) % FOLDS


def choose(
    engine: Engine, ways: Mapping[str, Way], judgments: Judgments, catalog: SearchCatalog, relevant: float
) -> Choice:
    """Ask every query in every way; each fold gets the way with the best mean nDCG@10 of the other folds."""
    systems = {name: _FirstTen(PeerSearch(engine, lambda _, way=way: way)) for name, way in ways.items()}
    answers = measure(systems, judgments, catalog, relevant, lambda *_: None)
    return _best({name: found.metrics["ndcg_at_10"] for name, found in answers.items()}, judgments, relevant)


def _best(quality: Mapping[str, np.ndarray], judgments: Judgments, relevant: float) -> Choice:
    names, table = list(quality), np.stack(list(quality.values()))
    scored = scored_queries(judgments, relevant)
    folds = np.array([fold(query) for query in judgments.grades])
    means = [table[:, scored & (folds != held)].mean(1) for held in range(FOLDS)]
    overall = table[:, scored].mean(1)
    return Choice(
        tuple(names[int(mean.argmax())] for mean in means), (names[int(overall.argmax())], float(overall.max()))
    )
