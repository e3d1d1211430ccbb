"""Which way of putting queries suits an engine: chosen by cross-validation over queries."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.measuring import FIRST, measure, scored_queries
from tests.benchmarks.search.peers.asking import Engine, Levels, PeerSearch, Way

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
        of_fold: Name of the way for the queries of each fold, chosen on those of all other folds.
        best: Name of the way that is best on all queries at once.
    """

    of_fold: tuple[Levels, ...]
    best: Levels

    def way(self, query: str) -> Levels:
        """Name of the way for a query; for a new one that of the fold into which it falls."""
        return self.of_fold[fold(query)]

    def words(self) -> str:
        """The choice in words."""
        counts = Counter(map(_named, self.of_fold)).most_common()
        folds = "; ".join(f"{name} ({count} of {FOLDS} parts)" for name, count in counts)
        return f"{folds}. Fitted: {_named(self.best)}"


def fold(query: str) -> int:
    """The fold of a query, which does not depend on the other queries."""
    return zlib.crc32(query.encode()) % FOLDS


def _named(levels: Levels) -> str:
    return ", ".join(filter(None, levels))


def choose(
    engine: Engine, ways: Mapping[Levels, Way], judgments: Judgments, catalog: SearchCatalog, relevant: float
) -> Choice:
    """Ask every query in every way, and choose for each fold on the other folds.

    Of each choice the level with the best nDCG@10 is taken, as a mean over all levels of the other choices and over
    the queries: the best single way of many has more luck.
    """
    systems = {_named(levels): _FirstTen(PeerSearch(engine, lambda _, way=way: way)) for levels, way in ways.items()}
    answers = measure(systems, judgments, catalog, relevant, lambda *_: None)
    quality = np.stack([found.metrics["ndcg_at_10"] for found in answers.values()])
    scored = scored_queries(judgments, relevant)
    folds = np.array([fold(query) for query in judgments.grades])
    names = list(ways)
    chosen = (_levels(names, quality[:, scored & (folds != held)].mean(1)) for held in range(FOLDS))
    return Choice(tuple(chosen), names[int(quality[:, scored].mean(1).argmax())])


def _levels(names: Sequence[Levels], means: np.ndarray) -> Levels:
    """The best level of each choice."""
    found = []
    for choice in range(len(names[0])):
        of_level = {name[choice]: [] for name in names}
        for name, mean in zip(names, means, strict=True):
            of_level[name[choice]].append(mean)
        found.append(max(of_level, key=lambda level: np.mean(of_level[level])))
    return tuple(found)
