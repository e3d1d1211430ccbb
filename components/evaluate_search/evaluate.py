"""Measures a search: on judgments or clicks against plain BM25 and a champion, on bare queries against a champion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from components.evaluate_search.ablation import ablated_answers, unused
from components.evaluate_search.catalog import SearchCatalog, bundle_catalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import Judgments, read_judgments
from components.evaluate_search.measuring import Answers, Watch, measure, scored_queries
from components.evaluate_search.report import evaluation_page
from components.evaluate_search.summary import Measured, figures, flat_figures, query_table
from components.evaluate_search.systems import BASELINE, CHAMPION, PRODUCT, ModelSearch, ProductSearch, catalog_systems
from components.shared.errors import InputError
from components.shared.evaluation.search_systems import SearchSystem
from components.shared.schema.account import told
from components.shared.search.config import SearchOptions
from components.shared.storage import atomic_directory, write_json
from components.shared.wording import counted

STAGE = "evaluate_search"
RESULT, QUERIES = "search_evaluation.json", "queries.parquet"


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What is measured, and what it is compared with.

    Attributes:
        items: catalog that is searched without a model (file, folder, URI or glob); '': the catalog of `bundle`.
        data: Options of DataOptions, for `items`.
        search: how `items` are indexed and ranked.
        bundle: the measured model; None: `items` is given.
        champion: bundle to compare with; None: none.
        public_key: Public key file to verify bundles; '': see trust.trusted.
    """

    items: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    search: SearchOptions = field(default_factory=SearchOptions)
    bundle: Path | None = None
    champion: Path | None = None
    public_key: str = ""


@dataclass(frozen=True)
class SearchEvaluation:
    """The outcome.

    Attributes:
        result: content of search_evaluation.json.
        notes: sentences about what was left out, and what limits the figures.
    """

    result: dict[str, Any]
    notes: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """The figures by flat name."""
        return flat_figures(self.result)


def evaluate_search(
    source: str, searched: Searched, out: Path, html: Path, options: SearchEvaluationOptions, watch: Watch
) -> SearchEvaluation:
    """Write search_evaluation.json and queries.parquet into a folder, and the page.

    Args:
        source: File, folder, URI or glob of judgments, clicks or queries; see read_judgments.
        searched: What is measured.
        out: Folder to write.
        html: Page to write.
        options: Options of the evaluation.
        watch: Called with the share of the work that is done, 0 to 1, and a note.

    Raises:
        InputError: the judgments or items cannot be read or do not fit each other, there is nothing to measure, or
            `html` or `out` cannot be written.
        SchemaError: a column is missing.
        DataError: no item is valid.
        BundleError: a bundle is incomplete or not trusted.
    """
    judgments, catalog, scored = _judged(source, searched, options, watch)
    systems, about = _systems(searched, catalog, judgments.kind)
    end = 0.3 if options.ablation else 0.9
    answers = measure(systems, judgments, catalog, options.relevant_grade, _between(watch, 0.2, end))
    whole, without = systems[PRODUCT], dict[str, Answers]()
    notes = _notes(judgments, catalog, systems)
    if options.ablation and isinstance(whole, (ProductSearch, ModelSearch)):
        without = ablated_answers(whole, judgments, catalog, options.relevant_grade, _between(watch, end, 0.9))
        if lacking := unused(whole):
            notes += (f"ablation: the search has no {' or '.join(lacking)} to switch off",)
    measured = Measured(judgments, answers, scored, options, without)
    result = {
        "judgments": {**_facts(judgments), "source": source, "kind": judgments.kind},
        "catalog": {"source": catalog.source, "items": len(catalog)},
        "models": about,
        **figures(measured),
        "notes": list(notes),
        "config": options.to_json(),
    }
    _write(result, measured, catalog, out, html)
    watch(1.0, f"{int(scored.sum()):,} of {len(measured.queries):,} queries scored")
    return SearchEvaluation(result, notes)


def _judged(
    source: str, searched: Searched, options: SearchEvaluationOptions, watch: Watch
) -> tuple[Judgments, SearchCatalog, np.ndarray]:
    """Judgments of the catalog, the catalog, and whether each query has a relevant item."""
    watch(0.0, "reading judgments")
    judgments = read_judgments(source, options)
    if judgments.kind == "queries" and searched.champion is None:
        raise InputError(
            f"judgments '{source}' have only queries, and there is no champion to compare answers with",
            "give a champion, or add the columns item_id and grade (or clicks)",
        )
    if judgments.kind == "queries" and options.ablation:
        raise InputError(
            f"judgments '{source}' have only queries, which do not tell what a step is worth",
            "add the columns item_id and grade (or clicks), or leave out ablation",
        )
    watch(0.1, "reading the catalog")
    catalog = _catalog(searched)
    judgments = judgments.within(catalog.row_of)
    scored = scored_queries(judgments, options.relevant_grade)
    if judgments.kind != "queries" and not scored.any():
        raise InputError(
            f"no query of '{source}' has an item of grade {options.relevant_grade:g} or more in the catalog",
            "set relevant_grade to the lowest grade of a relevant item",
        )
    return judgments, catalog, scored


def _between(watch: Watch, start: float, end: float) -> Watch:
    return lambda share, note: watch(start + (end - start) * share, note)


def _catalog(searched: Searched) -> SearchCatalog:
    if searched.items:
        return items_catalog(searched.items, searched.data)
    if searched.bundle is None:
        raise InputError(
            "there is neither a catalog nor a model to search", "give items, or a registry with a champion"
        )
    return bundle_catalog(searched.bundle)


def _systems(searched: Searched, catalog: SearchCatalog, kind: str) -> tuple[dict[str, SearchSystem], dict[str, str]]:
    """The systems by name, and the versions of those that are models."""
    systems, about = catalog_systems(catalog, searched.search), dict[str, str]()
    if searched.bundle is not None and not searched.items:
        model = ModelSearch(searched.bundle, searched.public_key)
        systems[PRODUCT], about[PRODUCT] = model, model.version
    if searched.champion is not None:
        model = ModelSearch(searched.champion, searched.public_key)
        systems[CHAMPION], about[CHAMPION] = model, model.version
    if kind == "queries":
        del systems[BASELINE]
    return systems, about


def _facts(judgments: Judgments) -> dict[str, Any]:
    account = judgments.account
    return {
        "rows": account.rows, "kept": account.kept,
        "rejected": {reason: lost.rows for reason, lost in account.rejected.items()},
        "repeated": judgments.repeated, "conflicting": judgments.conflicting,
        "items_not_in_catalog": len(judgments.unknown), "judgments_not_in_catalog": sum(judgments.unknown.values()),
    }  # fmt: skip


def _notes(judgments: Judgments, catalog: SearchCatalog, systems: Mapping[str, SearchSystem]) -> tuple[str, ...]:
    accounts = {"judgments": judgments.account} | ({"items": catalog.account} if catalog.account else {})
    found = [*told(accounts), *judgments.sentences()]
    champion = systems.get(CHAMPION)
    if isinstance(champion, ModelSearch) and (lacking := champion.lacking(catalog.item_id)):
        found.append(f"the champion's own catalog lacks {lacking:,} of {counted(len(catalog), 'item')}")
    return tuple(found)


def _write(result: dict[str, Any], measured: Measured, catalog: SearchCatalog, out: Path, html: Path) -> None:
    with atomic_directory(out) as folder:
        write_json(folder / RESULT, result)
        pq.write_table(query_table(measured), folder / QUERIES, compression="zstd")
    evaluation_page(result, measured, catalog).write(html)
