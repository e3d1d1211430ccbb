"""The evaluation page: decision, reasons and metrics."""

from typing import Any

from components.evaluate_model.compare import DIVERSITY_METRICS, LIST_METRICS
from components.shared.evaluation.decision import Decision
from components.shared.report import evaluation_sections as sections
from components.shared.report.page import Page

_HEADINGS = {
    "ndcg_at_10": "NDCG@10", "recall_at_10": "recall@10", "recall_at_20": "recall@20", "mrr": "MRR",
    "hit_rate_at_10": "hit rate@10", "coverage": "coverage@10", "novelty": "novelty (bits)", "gini": "Gini",
}  # fmt: skip


def evaluation_page(result: dict[str, Any], decision: Decision) -> Page:
    """Build the evaluation page from metrics.json."""
    split = result["split"]
    page = Page(
        "Model evaluation",
        f"{split['shoppers']:,} shoppers, purchases from {split['from'][:10]} to {split['to'][:10]}",
    )
    page.section("Decision")
    sections.banner(page, decision.blessed, result["checks"])
    sections.key_numbers(page, result)
    sections.reasons(page, result["checks"])
    sections.comparison(page, result)
    _tables(page, result)
    sections.slices(page, result)
    sections.ranker(page, result)
    _anonymous(page, result["anonymous"])
    sections.audit(page, result["leakage"])
    sections.training(page, result["curves"])
    return page


def _tables(page: Page, result: dict[str, Any]) -> None:
    """Add tables with all metrics of all methods."""
    page.section("All ranking metrics", "Means, with bootstrap intervals over shoppers where available.")
    for scope, title in (("overall", "All items"), ("first", "Items new to the shopper")):
        found = result["scopes"][scope]
        methods = sections.in_order(found["methods"])
        page.text(f"{title}: {found['shoppers']:,} shoppers, {found['relevant']:,} items bought")
        rows = [
            [_HEADINGS[name], *(sections.estimate(found["methods"][method][name]) for method in methods)]
            for name in (*LIST_METRICS, *DIVERSITY_METRICS)
        ]
        page.table(["", *methods], rows)


def _anonymous(page: Page, found: dict[str, Any]) -> None:
    """Add the section about anonymous shoppers."""
    page.section(
        "Anonymous shoppers",
        "The list for a shopper without id and history, compared with the purchases of all test shoppers.",
    )
    names = sorted(found["ndcg_at_10"], key=lambda name: (name != "model", -found["ndcg_at_10"][name]))
    page.table(["", *names], [["NDCG@10", *(f"{found['ndcg_at_10'][name]:.4f}" for name in names)]])
    page.text(f"Mean probability of its items: predicted {found['predicted']:.3f}, observed {found['observed']:.3f}.")
