"""Page sections for metrics.json, shared by the evaluation page and the run report."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.shared.report import plots
from components.shared.report.page import Page, Tone
from components.shared.training.curve import FINAL

_SCOPES = {"overall": "All items", "first": "Items new to the shopper"}
_RANKER = {
    "pairs": "candidates", "wanted": "purchases", "candidate_recall": "share of all purchases", "auc": "AUC",
    "gauc": "GAUC", "log_loss": "log loss", "calibration_error": "calibration error",
    "calibration_ratio": "predicted / observed", "threshold": "threshold", "accuracy": "accuracy",
    "precision": "precision", "recall": "recall", "f1": "F1",
}  # fmt: skip
_TASKS = {"all": "all", "again": "bought before", "first": "never bought"}


def banner(page: Page, blessed: bool, checks: Sequence[Mapping[str, Any]]) -> None:
    """Add the release decision."""
    broken = sum(not check["passed"] for check in checks)
    if blessed:
        page.banner("Blessed", "good", "All release gates passed: the model may replace the champion.")
    else:
        page.banner("Refused", "bad", f"{broken} of {len(checks)} release gates failed: the model is not released.")


def reasons(page: Page, checks: Sequence[Mapping[str, Any]]) -> None:
    """Add all release gates with their numbers, failed ones first."""
    page.checks([(_tone(check), check["sentence"]) for check in checks])


def _tone(check: Mapping[str, Any]) -> Tone:
    if not check["decides"]:
        return "neutral"
    return "good" if check["passed"] else "bad"


def key_numbers(page: Page, result: Mapping[str, Any]) -> None:
    """Add the most important metrics."""
    overall, ranker = result["scopes"]["overall"], result["ranker"]["all"]
    model = overall["methods"]["model"]
    for name, label in (("ndcg_at_10", "NDCG@10"), ("recall_at_20", "recall@20"), ("hit_rate_at_10", "hit rate@10")):
        found = model[name]
        note = "" if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
        page.badge(label, found["mean"], note=note)
    page.badge("coverage@10", f"{model['coverage']['mean']:.1%}", note="of the catalog")
    page.badge("ranker AUC", ranker["auc"], note=f"per shopper {_short(ranker['gauc'])}")
    page.badge("calibration", ranker["calibration_ratio"], note="predicted / observed")


def comparison(page: Page, result: Mapping[str, Any]) -> None:
    """Add all methods with confidence intervals, and paired differences."""
    split = result["split"]
    page.section(
        "Comparison with simple methods",
        f"Task: predict what each of {split['shoppers']:,} shoppers will buy in the {split['days']:.0f} days from "
        f"{split['from'][:10]} on, of {split['items']:,} items. All methods know only the events before that day. "
        f"{split['first_share']:.0%} of the purchases were of new items, which are evaluated separately, among "
        "items that the shopper has not bought before. Lines are 95 % bootstrap intervals over shoppers.",
    )
    for metric, label in (("ndcg_at_10", "NDCG@10"), ("recall_at_20", "recall@20")):
        methods = {
            title: {name: found[metric] for name, found in result["scopes"][scope]["methods"].items()}
            for scope, title in _SCOPES.items()
        }
        page.figure(plots.method_bars(methods, label), f"{label} of every method")
    paired = {
        title: {name: found["ndcg_at_10"] for name, found in result["scopes"][scope]["differences"].items()}
        for scope, title in _SCOPES.items()
    }
    page.figure(
        plots.differences(paired, "NDCG@10, model minus method"),
        "Paired differences per shopper: green is above zero, red below, grey not significant",
    )
    if result["champion"] and result["champion"]["note"]:
        page.banner("Comparison with the champion", "warning", result["champion"]["note"])


def slices(page: Page, result: Mapping[str, Any]) -> None:
    """Add metrics by segment."""
    page.section(
        "Slices",
        "The same lists, evaluated on parts of the shoppers or purchases; the best simple method is chosen per slice. "
        "First-time purchases are evaluated on lists without items that the shopper bought before. recall@20: the "
        "model's value above the simple method's.",
    )
    tones: dict[int, Tone] = {}
    rows = []
    for row, part in enumerate(result["slices"]):
        difference, model, other = part["difference"], part["model"], part["baseline"]
        if difference["mean"] is not None and (difference["low"] > 0 or difference["high"] < 0):
            tones[row] = "good" if difference["low"] > 0 else "bad"
        recall = f"{model['recall_at_20']:.4f}\n{other['recall_at_20']:.4f}" if part["shoppers"] else None
        simple = None if other["ndcg_at_10"] is None else f"{other['ndcg_at_10']:.4f}\n{part['best_baseline']}"
        rows.append([
            part["slice"], part["shoppers"], part["relevant"], model["ndcg_at_10"], simple,
            estimate(difference, signed=True), recall,
        ])  # fmt: skip
    page.table(["slice", "shoppers", "taken", "NDCG@10", "best simple", "difference", "recall@20"], rows, tones)


def estimate(found: Mapping[str, float | None], signed: bool = False) -> str | None:
    """A cell with mean and interval, or the mean if there is no interval."""
    mean, low, high = found["mean"], found["low"], found["high"]
    if mean is None or low is None or high is None:
        return None if mean is None else f"{mean:.4g}"
    sign = "+" if signed else ""
    return f"{mean:{sign}.4f}\n{low:{sign}.3f} … {high:{sign}.3f}"


def in_order(methods: Mapping[str, Any]) -> list[str]:
    """The model, the champion, then the simple methods by descending metric."""
    return sorted(methods, key=lambda name: (name != "model", name != "champion", -_mean(methods[name])))


def simple_methods(methods: Mapping[str, Any]) -> dict[str, Any]:
    """All methods except the model and the champion."""
    return {name: found for name, found in methods.items() if name not in ("model", "champion")}


def _mean(metrics: Mapping[str, Any]) -> float:
    return metrics["ndcg_at_10"]["mean"] or 0.0


def ranker(page: Page, result: Mapping[str, Any]) -> None:
    """Add discrimination and calibration of the ranker's probabilities."""
    tasks = {label: result["ranker"][task] for task, label in _TASKS.items()}
    page.section(
        "The ranker's probabilities",
        "On the candidates of the test shoppers. The threshold of accuracy, precision, recall and F1 was "
        "chosen on the validation window.",
    )
    roc = {name: {**task["roc"], "auc": task["auc"]} if task["roc"] else None for name, task in tasks.items()}
    bins = {name: task["calibration"] for name, task in tasks.items()}
    page.figures([
        (plots.roc_curves(roc), "ROC curves by whether the shopper bought the item before"),
        (plots.calibration(bins), "Calibration: on the dashed line, predicted and observed shares are equal"),
    ])  # fmt: skip
    rows = [[heading, *(tasks[label][name] for label in tasks)] for name, heading in _RANKER.items()]
    page.table(["", *tasks], rows)
    matrix = tasks["all"]["confusion"]
    if matrix:
        page.text("Confusion matrix of all pairs at the threshold")
        page.table(["", "predicted: not bought", "predicted: bought"],
                   [["actual: not bought", *matrix[0]], ["actual: bought", *matrix[1]]])  # fmt: skip


def audit(page: Page, found: Mapping[str, Any] | None) -> None:
    """Add the results of the leakage audit."""
    page.section(
        "Leakage audit",
        "A simple model is trained on labels shuffled among each shopper's candidates: its AUC must be at chance, 0.5. "
        "With the true labels, a nearly perfect AUC of this model or of a single input indicates leakage.",
    )
    if found is None:
        page.text("Not measured: a split has only one class.")
        return
    page.table(["trained on", "AUC on the test pairs"], [
        [f"shuffled labels, mean of {found['shuffled_shoppers']:,} shoppers",
         f"{found['shuffled']:.3f} ± {found['shuffled_error']:.3f}"],
        ["true labels", f"{found['learned']:.3f}"],
        [f"the input '{found['strongest']}' alone", f"{found['strongest_auc']:.3f}"],
    ])  # fmt: skip


def training(page: Page, curves: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Add the learning curves of both models."""
    kept = "The epoch with the best validation metric is kept"
    final = "; the ranker is then trained again for as many epochs on all windows, including validation"
    page.section("Training", f"{kept}{final if FINAL in curves else ''}.")
    page.figure(plots.learning_curves(curves), "Training loss and validation metric by epoch")


def _short(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
