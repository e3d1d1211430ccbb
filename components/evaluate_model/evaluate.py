"""Compares a trained model with baselines and the champion on the test window and applies the release gates."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from components.evaluate_model.anonymous import anonymous_shoppers
from components.evaluate_model.answers import model_answers
from components.evaluate_model.audit import leakage, with_shuffled_labels
from components.evaluate_model.baselines import SAME_FOR_ALL, Past, baseline_lists
from components.evaluate_model.champion import ChampionAnswers, champion_answers, champion_of
from components.evaluate_model.compare import CHAMPION, MODEL, Scope, subset, summarise
from components.evaluate_model.config import EvaluationOptions
from components.evaluate_model.flat import flat_metrics
from components.evaluate_model.lists_file import write_lists
from components.evaluate_model.ranker_quality import quality
from components.evaluate_model.report import evaluation_page
from components.evaluate_model.rules import apply_rules
from components.evaluate_model.slices import SliceFacts, slices
from components.shared.evaluation.decision import Decision
from components.shared.features.history import Histories
from components.shared.features.rows import Rows
from components.shared.features.spec import DAY
from components.shared.progress import report
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.offline import open_offline
from components.shared.recommender.recommender import Recommender
from components.shared.schema.timeline import Timeline
from components.shared.storage import atomic_directory, read_json, write_json
from components.shared.training.curve import curves

__all__ = ["champion_of", "confusion_matrix", "evaluate", "roc_points"]

STAGE = "evaluate_model"
METRICS = "metrics.json"
LIST_LENGTH = 20
"""Length of every list; the deepest metric (recall@20) uses 20 positions."""


@dataclass(frozen=True)
class Split:
    """One split with all data before its prediction time.

    Attributes:
        recommender: the trained models with item statistics as of that time.
        rows: shoppers and targets. histories: histories of the shoppers.
    """

    recommender: Recommender
    rows: Rows
    histories: Histories

    @classmethod
    def open(cls, features: Path, name: str, recommender: Recommender, limit: int) -> "Split":
        """Read rows/<name>.parquet and the histories before the rows' timestamps."""
        statistics = np.load(features / "statistics" / f"{name}.npy")
        rows = _at_most(Rows.read(features / "rows" / f"{name}.parquet", recommender.spec), limit)
        histories = recommender.store.before(rows.shopper, rows.timestamp, recommender.spec.max_history)
        neighbours = Neighbours.open(features / "neighbours" / name)
        return cls(dataclasses.replace(recommender, statistics=statistics, neighbours=neighbours), rows, histories)


def evaluate(
    features: Path, retriever: Path, ranker: Path, out: Path, html: Path, config: EvaluationOptions,
    champion: Path | None = None, public_key: str = "",
) -> Decision:  # fmt: skip
    """Write decision.json, metrics.json, lists.parquet and the page.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        out: Folder to write.
        html: Page to write.
        config: Options of the evaluation and the release gates.
        champion: Bundle of the champion; None: no comparison.
        public_key: Public key file to verify the champion; empty: see trust.trusted.

    Returns:
        The decision with every reason and the flat metrics.
    """
    report(STAGE, 0.0, "opening")
    candidates = CandidateConfig(**read_json(ranker / "candidates.json"))
    opened = open_offline(features, retriever, ranker, candidates, "test")
    test = Split.open(features, "test", opened, config.max_shoppers)
    validation = Split.open(features, "validation", opened, config.max_shoppers)
    past = Past.of(test.histories, _everyone(test), len(opened.catalog), opened.spec, config.recent_days)
    lists, pool = model_answers(test.recommender, test.rows, LIST_LENGTH)
    report(STAGE, 0.3, "model ranked")
    methods = {MODEL: lists, **baseline_lists(past, LIST_LENGTH)}
    report(STAGE, 0.6, "baselines ranked")
    held = _held(champion, public_key, test)
    methods |= {CHAMPION: held.lists} if held and held.lists else {}
    scopes, bought = _scopes(test, past, methods)
    learned_from = model_answers(validation.recommender, validation.rows, LIST_LENGTH)[1]
    shuffled = tuple(with_shuffled_labels(split.recommender, split.rows) for split in (validation, test))
    result = {
        **_measure(test, past, scopes, bought, config),
        "trained": _trained(features, opened),
        "split": _describe(test, bought, Timeline.read(features / "timeline.json")),
        "ranker": quality(pool, learned_from, bought, config.calibration_bins),
        "anonymous": anonymous_shoppers(
            test.recommender, test.rows, {name: methods[name].overall[0] for name in SAME_FOR_ALL}
        ),
        "leakage": leakage(learned_from, pool, (shuffled[0], shuffled[1])),
        "champion": _champion_facts(held),
        "curves": curves(retriever, ranker),
        "config": config.to_json(),
    }
    report(STAGE, 0.8, "measured")
    return _write(result, scopes, test, out, html, config)


def _held(champion: Path | None, public_key: str, test: Split) -> ChampionAnswers | None:
    if champion is None:
        return None
    return champion_answers(champion, test.recommender, test.rows.shopper, test.histories, LIST_LENGTH, public_key)


def _at_most(rows: Rows, limit: int) -> Rows:
    if len(rows) <= limit:
        return rows
    keep = np.linspace(0, len(rows) - 1, limit).astype(np.int64)
    features = {name: ragged.take(keep) for name, ragged in rows.features.items()}
    return Rows(rows.shopper[keep], rows.timestamp[keep], features, rows.targets.take(keep))


def _everyone(test: Split, part: int = 5_000) -> Iterator[Histories]:
    """Yield the histories of all shoppers before the test time, in parts."""
    store = test.recommender.store
    shoppers, test_time = len(store.offsets) - 1, int(test.rows.timestamp[0])
    for start in range(0, shoppers, part):
        rows = np.arange(start, min(start + part, shoppers))
        yield store.before(rows, np.full(len(rows), test_time), test.recommender.spec.max_history)


def _scopes(test: Split, past: Past, methods: dict[str, Any]) -> tuple[dict[str, Scope], np.ndarray]:
    """Return the measured scopes by name, and whether each target was bought before."""
    targets = test.rows.targets
    row = np.repeat(np.arange(len(test.rows)), targets.lengths)
    bought = np.asarray(past.counts[row, targets.values]).ravel() > 0
    overall = {method: lists.overall for method, lists in methods.items()}
    first = {method: lists.first for method, lists in methods.items()}
    return {
        "overall": Scope.of("overall", targets, overall),
        "first": Scope.of("first", subset(targets, ~bought), first),
    }, bought


def _measure(
    test: Split, past: Past, scopes: dict[str, Scope], bought: np.ndarray, config: EvaluationOptions
) -> dict[str, Any]:
    rows = len(test.rows)
    day = np.unique(np.stack([test.histories.row, test.histories.timestamp // DAY], 1), axis=0)[:, 0]
    facts = SliceFacts(past.total, np.bincount(day, minlength=rows), bought, config.new_below_visits)
    return {
        "scopes": {name: summarise(scope, past.total, config.bootstrap) for name, scope in scopes.items()},
        "slices": slices(test.rows.targets, scopes["overall"].lists, scopes["first"], facts, config.bootstrap),
    }


def _trained(features: Path, opened: Recommender) -> dict[str, int]:
    """How much the retriever was trained on."""
    rows = pq.read_metadata(features / "rows" / "retriever.parquet").num_rows
    return {"rows": rows, "items": opened.catalog.known_items}


def _describe(test: Split, bought: np.ndarray, timeline: Timeline) -> dict[str, Any]:
    return {
        "from": str(np.datetime64(timeline.test, "s")), "to": str(np.datetime64(timeline.test + timeline.horizon, "s")),
        "days": timeline.horizon / DAY, "shoppers": len(test.rows), "targets": len(bought),
        "first_share": float(1 - bought.mean()), "items": len(test.recommender.catalog) - 1,
        "target_event": test.recommender.spec.target_event,
    }  # fmt: skip


def _champion_facts(held: ChampionAnswers | None) -> dict[str, Any] | None:
    return None if held is None else {"name": held.name, "comparable": held.comparable, "note": held.note}


def _write(
    result: dict[str, Any], scopes: dict[str, Scope], test: Split, out: Path, html: Path, config: EvaluationOptions
) -> Decision:
    checks = apply_rules(result, config.rules)
    blessed = all(check.passed for check in checks)
    result["checks"] = [dataclasses.asdict(check) for check in checks]
    decision = Decision(blessed, tuple(check.sentence for check in checks), flat_metrics(result))
    with atomic_directory(out) as folder:
        decision.write(folder)
        write_json(folder / METRICS, result)
        write_lists(folder / "lists.parquet", scopes, test.rows.shopper, test.recommender)
    evaluation_page(result, decision).write(html)
    report(STAGE, 1.0, "blessed" if blessed else "refused")
    return decision


def roc_points(evaluation: Path) -> tuple[list[float], list[float], list[float]]:
    """False positive rate, true positive rate and threshold of the ranker on all its candidates.

    The diagonal if the curve could not be measured.
    """
    roc = read_json(evaluation / METRICS)["ranker"]["all"]["roc"]
    return (roc["fpr"], roc["tpr"], roc["threshold"]) if roc else ([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])


def confusion_matrix(evaluation: Path) -> list[list[int]]:
    """[[true negatives, false positives], [false negatives, true positives]] at the threshold chosen on validation."""
    return read_json(evaluation / METRICS)["ranker"]["all"]["confusion"] or [[0, 0], [0, 0]]
