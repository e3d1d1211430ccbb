"""Ablation: the product's search without one of its steps at a time, so that it shows what each step is worth.

Nothing is learned again: without a step the relevance model reads what the others leave of its inputs.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.measuring import Answers, Watch, measure
from components.evaluate_search.systems import ModelSearch, ProductSearch
from components.shared.evaluation.bootstrap import BootstrapConfig, intervals
from components.shared.search.steps import EVERY_STEP, STEPS

STEMMING = "stemming"
"""The step that needs an index of its own, of words as they are written."""
ABLATED = (*STEPS, STEMMING)
"""Names of the steps, in the order in which they are reported."""


def ablated_answers(
    whole: ProductSearch | ModelSearch, judgments: Judgments, catalog: SearchCatalog, relevant: float, watch: Watch
) -> dict[str, Answers]:
    """Answers of the search without each step that it uses, by step; see measuring.measure."""
    steps = [step for step in ABLATED if step not in unused(whole)]
    found: dict[str, Answers] = {}
    for at, (step, system) in enumerate(_ablated(whole, steps)):
        name = f"without {step}"
        found[step] = measure({name: system}, judgments, catalog, relevant, _part(watch, at, len(steps)))[name]
    return found


def unused(whole: ProductSearch | ModelSearch) -> list[str]:
    """Steps that a search lacks: without rules, vectors or a model of relevance there is nothing to switch off."""
    return [step for step in STEPS if step not in whole.searched.used()]


def _ablated(whole: ProductSearch | ModelSearch, steps: list[str]) -> Iterator[tuple[str, ProductSearch | ModelSearch]]:
    """The searches, one at a time, so that few are in memory."""
    for step in steps:
        search = whole.unstemmed() if step == STEMMING else whole.searched.with_steps(EVERY_STEP.without(step))
        yield step, whole.with_search(search)


def _part(watch: Watch, at: int, of: int) -> Callable[[float, str], None]:
    return lambda share, note: watch((at + share) / of, note)


def ablation_figures(
    whole: Answers, without: Mapping[str, Answers], scored: np.ndarray, bootstrap: BootstrapConfig
) -> dict[str, Any]:
    """Figures by step as JSON values.

    Args:
        whole: Answers of the whole search.
        without: Answers without each step.
        scored: bool [queries], queries with a relevant item.
        bootstrap: Of the intervals, whose resamples all steps share.

    Returns:
        Step -> ndcg_at_10, zero_result_rate, and `difference`: nDCG@10 without the step minus that of the whole search,
        below 0 for a step that helps, with its paired interval and the number of queries that lose and gain.
    """
    if not without or not scored.any():
        return {}
    ndcg = np.stack([found.metrics["ndcg_at_10"][scored] for found in without.values()], 1)
    differences = ndcg - whole.metrics["ndcg_at_10"][scored][:, None]
    found: dict[str, Any] = {}
    for (step, answers), values, interval in zip(
        without.items(), differences.T, intervals(differences, bootstrap), strict=True
    ):
        found[step] = {
            "ndcg_at_10": float(answers.metrics["ndcg_at_10"][scored].mean()),
            "zero_result_rate": float((answers.counts == 0).mean()),
            "difference": {**interval.to_json(), "better": int((values > 0).sum()), "worse": int((values < 0).sum()),
                           "equal": int((values == 0).sum())},
        }  # fmt: skip
    return found
