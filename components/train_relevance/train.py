"""Learns the relevance model of a catalog's search from judgments or clicks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate_search.catalog import SearchCatalog, bundle_catalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import Judgments, read_judgments
from components.evaluate_search.systems import catalog_search
from components.shared.errors import InputError
from components.shared.evaluation.bootstrap import intervals
from components.shared.recommender.recommender import Recommender
from components.shared.release.trust import trusted
from components.shared.search.config import SearchOptions
from components.shared.search.relevance import PERSONAL, RelevanceModel
from components.shared.search.searching import CatalogSearch, rank_classes
from components.train_relevance.choosing import Choice, Estimate, choices, choose, estimate
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery
from components.train_relevance.personal import personal_weight

STAGE = "train_relevance"
MODEL = "relevance.json"
Watch = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and a note."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The catalog that is searched.

    Attributes:
        items: Its file, folder, URI or glob; '': the catalog and search of `bundle`.
        data: Options of DataOptions, for `items`.
        bundle: A bundle. public_key: Key file to verify it; '': see trust.trusted.
    """

    items: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    public_key: str = ""


def train_relevance(
    source: str, searched: Searched, out: Path, options: RelevanceOptions, watch: Watch
) -> RelevanceModel:
    """Write a relevance model.

    Args:
        source: File, folder, URI or glob of judgments or clicks; see read_judgments.
        searched: The catalog, and the bundle that has it.
        out: File to write.
        options: Options of the training.
        watch: See Watch.

    Returns:
        The model; `about` has its cross-validated metrics beside those of the words' order.

    Raises:
        InputError: the judgments, items, encoder or bundle cannot be read, or are too few for the folds.
        SchemaError: a column is missing.
        DataError: no item is valid.
    """
    watch(0.0, "reading judgments")
    judgments = read_judgments(source, SearchEvaluationOptions())
    if judgments.kind == "queries":
        raise InputError(f"'{source}' has only queries", "add the columns item_id and grade (or clicks)")
    watch(0.1, "indexing the catalog")
    catalog, search, recommender = _opened(searched, options)
    judgments = judgments.within(catalog.row_of)
    shift = 0 if searched.items else 1
    queries = judged_queries(search, judgments, catalog, options, shift)
    if len(queries) < 2 * options.folds:
        raise InputError(f"{len(queries):,} queries of '{source}' found a relevant item",
                         f"give judgments of at least {2 * options.folds} such queries, or fewer folds")  # fmt: skip
    watch(0.5, f"cross-validating over {len(queries):,} queries")
    among = choices(options, len(queries))
    about = _cross_validated(queries, estimate(queries, among, options), options)
    choice = choose(queries, among, options, options.seed)[None]
    facts = {"source": source, "notes": judgments.sentences(), "catalog": catalog.source, "queries": len(queries),
             **_chosen(choice), "encoder": _encoder(search)}  # fmt: skip
    model = choice.fitted(queries, options.features)
    weights = dict(model.weights)
    if recommender is not None:
        watch(0.9, "weighing the ranker of the shoppers")
        personal = personal_weight(source, recommender, queries, model, among, options, judgments.examined or {})
        about |= personal.about if personal else {}
        weights |= {PERSONAL: personal.weight} if personal and personal.weight is not None else {}
    rounded = {name: round(weight, 4) for name, weight in weights.items()}
    model = RelevanceModel(rounded, {**facts, **about}, model.trees)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.write(out)
    watch(1.0, f"nDCG@10 {about['ndcg_at_10']:.4f}, by words alone {about['words_ndcg_at_10']:.4f}")
    return model


def _opened(searched: Searched, options: RelevanceOptions) -> tuple[SearchCatalog, CatalogSearch, Recommender | None]:
    if searched.items:
        catalog = items_catalog(searched.items, searched.data)
        return catalog, catalog_search(catalog, SearchOptions(encoder=options.encoder)), None
    if searched.bundle is None:
        raise InputError("there is neither a catalog nor a model to search", "give items, or a bundle")
    trusted(searched.bundle, searched.public_key)
    recommender = Recommender.open(searched.bundle)
    assert recommender.search is not None
    return bundle_catalog(searched.bundle), recommender.search, recommender


def judged_queries(
    search: CatalogSearch, judgments: Judgments, catalog: SearchCatalog, options: RelevanceOptions, shift: int
) -> list[JudgedQuery]:
    """The queries with a relevant judgment; `shift` is the row of the catalog's first item in the search."""
    # Of a bundle, row 0 is the unknown item.
    allowed = np.arange(len(catalog) + shift) >= shift
    found = []
    for query, grades in judgments.grades.items():
        given = np.array(list(grades.values()), np.float64)
        if not given.any():
            continue
        read = search.understand(query)
        candidates = search.candidates(read, options.candidates, allowed)
        rows = candidates.matches.item
        grade_of = {catalog.row_of[name] + shift: value for name, value in grades.items()}
        grade = np.array([grade_of.get(row, 0.0) for row in rows.tolist()])
        judged = np.array([row in grade_of for row in rows.tolist()], bool)
        features = search.features(read, candidates)
        words = candidates.matches.score.astype(np.float64)
        rank_class = rank_classes(candidates.matches)
        found.append(JudgedQuery(features, grade, judged, rank_class, words, given, query, rows))
    return found


def _chosen(choice: Choice) -> dict[str, Any]:
    if choice.trees:
        return {"model": choice.family, "trees": choice.trees}
    return {"model": choice.family, "l2": choice.l2, "signs": "positive" if choice.positive else "any"}


def _cross_validated(queries: list[JudgedQuery], found: Estimate, options: RelevanceOptions) -> dict[str, Any]:
    """Metrics of the model and of the words' order, and the interval of their difference."""
    words = np.array([query.ndcg(query.words) for query in queries])
    (gain,) = intervals((found.ndcg - words)[:, None], SearchEvaluationOptions().bootstrap)
    return {
        "ndcg_at_10": round(float(found.ndcg.mean()), 4),
        "ndcg_spread_over_repeats": round(found.spread, 4),
        "rerank_ndcg_at_10": round(float(found.rerank.mean()), 4),
        "words_ndcg_at_10": round(float(words.mean()), 4),
        "words_rerank_ndcg_at_10": round(float(np.mean([query.ndcg(query.words, True) for query in queries])), 4),
        "gain": [round(gain.mean, 4), round(gain.low, 4), round(gain.high, 4)],
        "folds": options.folds, "repeats": options.repeats,
        **{f"{family}_ndcg_at_10": round(float(ndcg.mean()), 4) for family, ndcg in found.families.items()},
    }  # fmt: skip


def _encoder(search: CatalogSearch) -> str:
    return search.dense.encoder.record.source if search.dense else ""
