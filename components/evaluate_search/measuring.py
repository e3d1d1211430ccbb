"""Asks every query of every system and measures the answers, query by query."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.judgments import Judgments
from components.shared.evaluation.ranking_metrics import recall_at_k, reciprocal_rank
from components.shared.evaluation.search_metrics import graded_ndcg_at_k, judged_at_k
from components.shared.evaluation.search_systems import SearchSystem

DEPTH, FIRST = 100, 10
"""Results that are asked for, and those that nDCG counts. MRR is 0 for a relevant item beyond DEPTH."""

METRICS = ("ndcg_at_10", "judged_at_10", "rerank_ndcg_at_10", "recall_at_100", "mrr")
"""Metrics of a query; NaN where a query is not scored, because it has no relevant item."""

Watch = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and a note."""


@dataclass(frozen=True)
class Answers:
    """The answers of one system.

    Attributes:
        results: ids of the first DEPTH results of each query, best first, distinct.
        metrics: METRICS -> float64 [queries].
    """

    results: list[list[str]]
    metrics: dict[str, np.ndarray]

    @property
    def counts(self) -> np.ndarray:
        """Number of results of each query, int64."""
        return np.array([len(found) for found in self.results], np.int64)


def measure(
    systems: Mapping[str, SearchSystem], judgments: Judgments, catalog: SearchCatalog, relevant: float, watch: Watch
) -> dict[str, Answers]:
    """The answers of every system to every query.

    Args:
        systems: By name.
        judgments: Of items of the catalog.
        catalog: For the order in which judged items are given to be ranked, which does not depend on their grades.
        relevant: Lowest grade of a relevant item.
        watch: See Watch.
    """
    found = {}
    for at, (name, system) in enumerate(systems.items()):
        results: list[list[str]] = []
        ranked: list[list[str]] = []
        for number, (query, grades) in enumerate(judgments.grades.items()):
            if number % 100 == 0:
                share = (at + number / len(judgments.grades)) / len(systems)
                watch(share, f"{name}: {number:,} of {len(judgments.grades):,} queries")
            results.append(list(dict.fromkeys(system.search(query, DEPTH)))[:DEPTH])
            given = sorted(grades, key=catalog.row_of.__getitem__)
            ranked.append(_checked(system.rank(query, given) if given else [], given, name))
        found[name] = Answers(results, _metrics(results, ranked, judgments, relevant))
    return found


def _checked(ranked: list[str], given: Sequence[str], name: str) -> list[str]:
    if sorted(ranked) != sorted(given):
        raise ValueError(f"rank() of '{name}' returned other items than it was given")
    return ranked


def scored_queries(judgments: Judgments, relevant: float) -> np.ndarray:
    """Whether each query has a relevant item, bool [queries]."""
    return np.array([max(grades.values(), default=0.0) >= relevant for grades in judgments.grades.values()], bool)


def _metrics(
    results: list[list[str]], ranked: list[list[str]], judgments: Judgments, relevant: float
) -> dict[str, np.ndarray]:
    of_queries = list(judgments.grades.values())
    grades, judged = _grades(results, of_queries, DEPTH)
    best = _grades([sorted(one, key=one.__getitem__, reverse=True)[:FIRST] for one in of_queries], of_queries, FIRST)[0]
    first = _grades([one[:FIRST] for one in ranked], of_queries, FIRST)[0]
    hits = grades >= relevant
    count = np.array([sum(grade >= relevant for grade in one.values()) for one in of_queries], np.int64)
    scored = scored_queries(judgments, relevant)
    metrics = {
        "ndcg_at_10": graded_ndcg_at_k(grades, best, FIRST),
        "judged_at_10": judged_at_k(judged, FIRST),
        "rerank_ndcg_at_10": graded_ndcg_at_k(first, best, FIRST),
        "recall_at_100": recall_at_k(hits, np.maximum(count, 1), DEPTH),
        "mrr": reciprocal_rank(hits),
    }
    return {name: np.where(scored, values, np.nan) for name, values in metrics.items()}


def _grades(
    lists: list[list[str]], of_queries: Sequence[Mapping[str, float]], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Grade of each id of each list, float64 [lists, width], 0 without a judgment; and whether it has one, bool."""
    grades, judged = np.zeros((len(lists), width)), np.zeros((len(lists), width), bool)
    for row, (found, known) in enumerate(zip(lists, of_queries, strict=True)):
        for at, name in enumerate(found):
            if name in known:
                grades[row, at], judged[row, at] = known[name], True
    return grades, judged
