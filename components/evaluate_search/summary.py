"""From the answers to the figures: means, paired differences, similarity to the champion, the table of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluate_search.ablation import ablation_figures
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.measuring import FIRST, METRICS, Answers
from components.evaluate_search.systems import BASELINE, CHAMPION, PRODUCT
from components.shared.evaluation.bootstrap import intervals
from components.shared.evaluation.search_metrics import rank_biased_overlap, result_overlap_at_k


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes:
        judgments: of items of the catalog.
        answers: of each system; without judgments, not of the baseline.
        scored: bool [queries], whether a query has a relevant item.
        options: of the evaluation.
        without: answers of the product without each of its steps, by step; {} without an ablation.
    """

    judgments: Judgments
    answers: Mapping[str, Answers]
    scored: np.ndarray
    options: SearchEvaluationOptions
    without: Mapping[str, Answers] = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        """All queries, in the order of the file."""
        return list(self.judgments.grades)

    @property
    def against(self) -> str:
        """The system that queries are compared with: the champion, or else the baseline."""
        return CHAMPION if CHAMPION in self.answers else BASELINE

    def difference(self, other: str) -> np.ndarray:
        """nDCG@10 of the product minus that of another system, float64 [queries]; NaN where not scored."""
        first, second = self.answers[PRODUCT].metrics, self.answers[other].metrics
        return first["ndcg_at_10"] - second["ndcg_at_10"]

    def similarity(self) -> dict[str, np.ndarray]:
        """Overlap@10 and rank-biased overlap of the answers of product and champion, float64 [queries]; {} without."""
        if CHAMPION not in self.answers:
            return {}
        pairs = list(zip(self.answers[PRODUCT].results, self.answers[CHAMPION].results, strict=True))
        persistence = self.options.persistence
        return {
            "overlap_at_10": np.array([result_overlap_at_k(one, other, FIRST) for one, other in pairs]),
            "rank_biased_overlap": np.array([rank_biased_overlap(one, other, persistence) for one, other in pairs]),
        }

    def order(self) -> np.ndarray:
        """Positions of the queries as they are listed, int64 [queries].

        From the most improved to the most worsened, then those not scored; without judgments, those whose answer
        changed most first.
        """
        if self.scored.any():
            return np.argsort(-self.difference(self.against), kind="stable")
        return np.argsort(self.similarity()["rank_biased_overlap"], kind="stable")


def figures(measured: Measured) -> dict[str, Any]:
    """Means and intervals as JSON values; null where there is nothing to average."""
    result: dict[str, Any] = {
        "queries": len(measured.queries),
        "scored_queries": int(measured.scored.sum()),
        "systems": {name: _system(measured, found) for name, found in measured.answers.items()},
        "differences": {},
    }
    if measured.scored.any():
        others = [name for name in (BASELINE, CHAMPION) if name in measured.answers]
        result["differences"] = {other: _difference(measured, other) for other in others}
    if similarity := measured.similarity():
        means = {name: float(values.mean()) for name, values in similarity.items()}
        result["champion_similarity"] = {**means, "churn": 1.0 - means["rank_biased_overlap"]}
    bootstrap = measured.options.bootstrap
    if ablation := ablation_figures(measured.answers[PRODUCT], measured.without, measured.scored, bootstrap):
        result["ablation"] = ablation
    return result


def _system(measured: Measured, found: Answers) -> dict[str, float | None]:
    means = {
        name: float(found.metrics[name][measured.scored].mean()) if measured.scored.any() else None for name in METRICS
    }
    return {**means, "zero_result_rate": float((found.counts == 0).mean())}


def _difference(measured: Measured, other: str) -> dict[str, float | int | None]:
    """Mean difference of nDCG@10 with its paired interval, and the number of queries that are better and worse."""
    values = measured.difference(other)[measured.scored]
    (interval,) = intervals(values[:, None], measured.options.bootstrap)
    better, worse = int((values > 0).sum()), int((values < 0).sum())
    return {**interval.to_json(), "better": better, "worse": worse, "equal": len(values) - better - worse}


def flat_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures by flat name, as metrics of a pipeline; what was not measured is left out."""
    flat: dict[str, float | None] = {name: result[name] for name in ("queries", "scored_queries")}
    flat |= {f"{system}_{name}": value for system, found in result["systems"].items() for name, value in found.items()}
    for other, found in result["differences"].items():
        flat |= {f"difference_to_{other}": found["mean"], f"difference_to_{other}_low": found["low"],
                 f"difference_to_{other}_high": found["high"]}  # fmt: skip
    flat |= result.get("champion_similarity", {})
    for step, found in result.get("ablation", {}).items():
        flat |= {f"without_{step}_{name}": found[name] for name in ("ndcg_at_10", "zero_result_rate")}
        flat |= {f"without_{step}_difference": found["difference"]["mean"],
                 f"without_{step}_difference_low": found["difference"]["low"],
                 f"without_{step}_difference_high": found["difference"]["high"]}  # fmt: skip
    return {name: float(value) for name, value in flat.items() if value is not None}


def query_table(measured: Measured) -> pa.Table:
    """A row for each query, in the order of `Measured.order`; null where a query is not scored."""
    order = measured.order()
    judged = [len(grades) for grades in measured.judgments.grades.values()]
    columns: dict[str, Any] = {
        "query": pa.array(_taken(measured.queries, order), pa.string()),
        "judged_items": pa.array(_taken(judged, order), pa.int32()),
    }
    if measured.scored.any():
        for other in (BASELINE, CHAMPION):
            if other in measured.answers:
                columns[f"difference_to_{other}"] = measured.difference(other)[order]
    columns |= {name: values[order] for name, values in measured.similarity().items()}
    for system, found in measured.answers.items():
        if measured.scored.any():
            columns |= {f"{system}_{name}": found.metrics[name][order] for name in METRICS}
        columns[f"{system}_results"] = found.counts[order].astype(np.int32)
        columns[f"{system}_item_ids"] = pa.array(
            _taken([one[:FIRST] for one in found.results], order), pa.list_(pa.string())
        )
    for step, found in measured.without.items():
        columns[f"without_{step}_ndcg_at_10"] = found.metrics["ndcg_at_10"][order]
    return pa.table({
        name: pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    })  # fmt: skip


def _taken(values: Sequence[Any], order: np.ndarray) -> list[Any]:
    return [values[at] for at in order.tolist()]
