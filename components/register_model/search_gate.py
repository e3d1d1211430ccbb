"""Release gate of the search: a version that is worse than the champion on a shop's judgments is not registered."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.evaluate_search import stage
from components.evaluate_search.evaluate import QUERIES
from components.evaluate_search.systems import CHAMPION, PRODUCT
from components.shared.errors import InputError, RegistryError
from components.shared.release.config import SearchGate
from components.shared.release.registry import Root
from components.shared.wording import printable

_NAMED = 3
"""Queries that a refusal names, the most worsened."""


def judge_search(
    bundle: Path, gate: SearchGate, registry: Root, name: str, public_key: Path | None
) -> dict[str, float]:
    """Measure the search of a bundle, beside that of the champion if there is one that can be opened.

    Args:
        bundle: A signed bundle.
        gate: Judgments and limits.
        registry: Folder or s3:// URI of the registry.
        name: Model name in it.
        public_key: Public key file to verify both; None: see trust.trusted.

    Returns:
        Figures by flat name, each with the prefix `search_`.

    Raises:
        RegistryError: the search is not good enough; the message names the rule and has the figures.
        InputError: the judgments cannot be read, or have no item of the catalog.
        BundleError: the bundle is not trusted.
    """
    wanted = stage.searched("", bundle, str(registry), name, str(public_key or ""), {}, {})
    options = {"relevant_grade": gate.relevant_grade}
    with tempfile.TemporaryDirectory(prefix="shoprank-") as folder:
        out = Path(folder) / "evaluation"
        found = stage.run(gate.judgments, wanted, out, Path(folder) / "report.html", options)
        worsened = _worsened(out / QUERIES)
    if found.result["judgments"]["kind"] == "queries":
        raise InputError(
            f"release.search.judgments: '{gate.judgments}' have no grades",
            "add the columns item_id and grade, or clicks",
        )
    broken = _broken(found.result, gate)
    if broken:
        raise RegistryError(
            f"the search of this version is not good enough: {'; '.join(broken)}{worsened}",
            "look at the queries with `shoprank search-eval`; correct the catalog, section compile.search or the "
            "judgments, judge more queries if the interval is wide, or change the limit; the champion is unchanged",
        )
    return {f"search_{name}": value for name, value in found.metrics().items()}


def _broken(result: Mapping[str, Any], gate: SearchGate) -> list[str]:
    """The rules that are broken, each with its figures."""
    ndcg = result["systems"][PRODUCT]["ndcg_at_10"]
    scored = f"{result['scored_queries']:,} judged " + ("query" if result["scored_queries"] == 1 else "queries")
    broken = []
    if ndcg < gate.min_ndcg:
        broken.append(f"rule release.search.min_ndcg: nDCG@10 {ndcg:.4f} of {scored} is below {gate.min_ndcg:g}")
    difference = result["differences"].get(CHAMPION)
    if difference is not None and difference["low"] < -gate.tolerance:
        champion = result["systems"][CHAMPION]["ndcg_at_10"]
        broken.append(
            f"rule release.search.tolerance: nDCG@10 {ndcg:.4f} beside the champion's {champion:.4f} of {scored} "
            f"({difference['mean']:+.4f}, 95 % interval {difference['low']:+.4f} to {difference['high']:+.4f}) may be "
            f"worse by more than {gate.tolerance:g}"
        )
    return broken


def _worsened(path: Path) -> str:
    """The most worsened queries beside the champion, for a message; '' for none."""
    column = f"difference_to_{CHAMPION}"
    table = pq.read_table(path)
    if column not in table.column_names:
        return ""
    rows = [row for row in table.select(["query", column]).to_pylist() if (row[column] or 0) < 0]
    worst = sorted(rows, key=lambda row: row[column])[:_NAMED]
    named = ", ".join(f"'{printable(row['query'])}' {row[column]:+.2f}" for row in worst)
    return f"; most worsened: {named}" if worst else ""
