"""The page of a search evaluation: figures of each system, queries that gained and lost, their results side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.summary import Measured
from components.evaluate_search.systems import BASELINE, CHAMPION, PRODUCT
from components.shared.report.evaluation_sections import estimate
from components.shared.report.page import Page
from components.shared.wording import counted, printable

COLUMNS = {
    "ndcg_at_10": "nDCG@10", "judged_at_10": "judged@10", "rerank_ndcg_at_10": "re-rank", "recall_at_100": "recall@100",
    "mrr": "MRR", "zero_result_rate": "zero results",
}  # fmt: skip
"""Metric -> heading, of this page and of the terminal's table."""

_SIDE, _LISTED = 5, 100
_ABOUT = {
    BASELINE: "bm25: plain BM25 (k1 1.2, b 0.75) over title and description, lower-case words without stemming.",
    PRODUCT: "shoprank: the search of this version.",
    CHAMPION: "champion: the answers of the given model to a shopper without history.",
}


def evaluation_page(result: Mapping[str, Any], measured: Measured, catalog: SearchCatalog) -> Page:
    """Build the page."""
    queries = "1 query" if result["queries"] == 1 else f"{result['queries']:,} queries"
    scored = f", {result['scored_queries']:,} of them scored" if result["scored_queries"] else ""
    page = Page(
        "Search evaluation",
        f"{queries}{scored}, {counted(len(catalog), 'item')}",
        printable(f"judgments: {result['judgments']['source']}; catalog: {result['catalog']['source']}"),
    )
    _figures(page, result)
    if "ablation" in result:
        _ablation(page, result)
    _side_by_side(page, measured, catalog)
    (_gains if measured.scored.any() else _changes)(page, measured)
    return page


def _figures(page: Page, result: Mapping[str, Any]) -> None:
    about = " ".join(_ABOUT[name] for name in result["systems"])
    page.section("Systems", about)
    for other, found in result["differences"].items():
        tone = "good" if found["low"] > 0 else "bad" if found["high"] < 0 else "neutral"
        note = f"{found['low']:+.3f} to {found['high']:+.3f}; better {found['better']}, worse {found['worse']}"
        page.badge(f"nDCG@10 minus {other}", f"{found['mean']:+.4f}", tone, note)
    for name, label in (("overlap_at_10", "overlap@10 with champion"), ("churn", "churn against champion")):
        if name in result.get("champion_similarity", {}):
            page.badge(label, f"{result['champion_similarity'][name]:.3f}")
    rows = [
        [name, *(None if found[metric] is None else f"{found[metric]:.4f}" for metric in COLUMNS),
         *(estimate(result["differences"][other], signed=True) if name == PRODUCT else None
           for other in result["differences"])]
        for name, found in result["systems"].items()
    ]  # fmt: skip
    page.table(["system", *COLUMNS.values(), *(f"minus {other}" for other in result["differences"])], rows)
    if result["differences"]:
        page.text(
            "Means over the scored queries; zero results: over all. Results without a judgment count as not relevant; "
            "judged@10 is the share of the first ten positions that have a judged result. Re-rank: nDCG@10 of the "
            "judged items alone. Intervals: 95 %, paired bootstrap over queries."
        )
    if result["notes"]:
        page.checks([("warning", printable(note)) for note in result["notes"]])


def _ablation(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Ablation", "The search without one step at a time, the most useful step first.")
    steps = sorted(result["ablation"].items(), key=lambda entry: entry[1]["difference"]["mean"])
    page.table(
        ["without", "nDCG@10", "minus the whole search", "queries worse", "better", "zero results"],
        [[step.replace("_", " "), f"{found['ndcg_at_10']:.4f}", estimate(found["difference"], signed=True),
          found["difference"]["worse"], found["difference"]["better"], f"{found['zero_result_rate']:.4f}"]
         for step, found in steps],
    )  # fmt: skip
    page.text(
        "Below 0: the step helps. Nothing is learned again, so a relevance model reads what the other steps leave of "
        "its inputs. Intervals as above; all steps share their resamples."
    )


def _gains(page: Page, measured: Measured) -> None:
    other = measured.against
    order = [at for at in measured.order().tolist() if measured.scored[at]]
    shown = order if len(order) <= 2 * _LISTED else [*order[:_LISTED], *order[-_LISTED:]]
    what = "All scored queries" if shown is order else f"The first and last {_LISTED} scored queries"
    page.section("Queries", f"{what}, from the most improved to the most worsened; all are in queries.parquet.")
    ndcg = {name: found.metrics["ndcg_at_10"] for name, found in measured.answers.items()}
    difference = measured.difference(other)
    page.table(
        ["query", *(f"nDCG@10 {name}" for name in ndcg), f"minus {other}"],
        [[printable(measured.queries[at]), *(f"{values[at]:.3f}" for values in ndcg.values()), f"{difference[at]:+.3f}"]
         for at in shown],
    )  # fmt: skip


def _changes(page: Page, measured: Measured) -> None:
    similarity = measured.similarity()
    page.section("Queries", f"Those whose answers changed most, at most {_LISTED}; all are in queries.parquet.")
    page.table(
        ["query", "overlap@10", "rank-biased overlap"],
        [[printable(measured.queries[at]), *(f"{values[at]:.3f}" for values in similarity.values())]
         for at in measured.order()[:_LISTED].tolist()],
    )  # fmt: skip


def _side_by_side(page: Page, measured: Measured, catalog: SearchCatalog) -> None:
    """Add the first results of both systems for the most improved and the most worsened queries."""
    count, order = measured.options.examples, measured.order()
    if not measured.scored.any():
        return _section(page, "Most changed", order[:count], measured, catalog)
    difference = measured.difference(measured.against)
    order = order[measured.scored[order]]
    _section(page, "Most improved", order[difference[order] > 0][:count], measured, catalog)
    _section(page, "Most worsened", order[difference[order] < 0][::-1][:count], measured, catalog)


def _section(page: Page, heading: str, queries: np.ndarray, measured: Measured, catalog: SearchCatalog) -> None:
    page.section(heading, f"The first {_SIDE} results of both, with their grades; –: not judged.")
    if not len(queries):
        page.text("None.")
    systems = (PRODUCT, measured.against)
    for at in queries.tolist():
        query = measured.queries[at]
        grades = measured.judgments.grades[query]
        values = [measured.answers[name].metrics["ndcg_at_10"][at] for name in systems]
        scores = f": nDCG@10 {values[0]:.3f} and {values[1]:.3f}" if measured.scored[at] else ""
        page.text(f"{printable(query)}{scores}")
        lists = [_cells(measured.answers[name].results[at], grades, catalog) for name in systems]
        rows = [[place + 1, *one, *other] for place, (one, other) in enumerate(zip(*lists, strict=True))]
        page.table(["#", systems[0], "grade", systems[1], "grade"], rows)


def _cells(results: Sequence[str], grades: Mapping[str, float], catalog: SearchCatalog) -> list[tuple[str | None, Any]]:
    """Title and grade of the first results; None for positions without a result."""
    found: list[tuple[str | None, Any]] = []
    for name in results[:_SIDE]:
        title = catalog.title(name) if name in catalog.row_of else f"{name} (not in the catalog)"
        found.append((printable(title), f"{grades[name]:.3g}" if name in grades else None))
    return [*found, *[(None, None)] * (_SIDE - len(found))]
