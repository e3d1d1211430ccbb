"""Discrimination and calibration of the ranker's probabilities on its actual candidates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn import metrics as sk

from components.evaluate_model.answers import Pool

ROC_POINTS = 200
"""Maximum number of points of a ROC curve; KFP's page draws all of them."""


@dataclass(frozen=True)
class Part:
    """Pairs of one task.

    Attributes:
        row: int64 [pairs], shopper. probability: float64 [pairs]. label: bool [pairs].
    """

    row: np.ndarray
    probability: np.ndarray
    label: np.ndarray

    @property
    def has_both(self) -> bool:
        """Whether both classes occur."""
        return bool(self.label.any() and not self.label.all())


def parts(pool: Pool) -> dict[str, Part]:
    """All pairs, pairs bought before and pairs not bought before; each task is evaluated on its own pairs."""
    masks = {"all": np.ones(len(pool.row), bool), "again": pool.again, "first": ~pool.again}
    return {
        name: Part(pool.row[mask], pool.probability[mask].astype(np.float64), pool.label[mask])
        for name, mask in masks.items()
    }


def quality(test: Pool, validation: Pool, bought: np.ndarray, bins: int) -> dict[str, Any]:
    """Metrics of every task: see `_task`. The threshold comes from the validation split, everything else from test.

    A refitted ranker was trained on the validation labels, so its threshold may be slightly too high.

    Args:
        test: Pairs of the test split.
        validation: Pairs of the validation split.
        bought: bool [targets of the test split], bought before; for the share of targets among the candidates.
        bins: Number of calibration bins.
    """
    chosen = {name: best_threshold(part) for name, part in parts(validation).items()}
    targets = {"all": len(bought), "again": int(bought.sum()), "first": int((~bought).sum())}
    found = {name: _task(part, chosen[name], bins) for name, part in parts(test).items()}
    for name, task in found.items():
        task["candidate_recall"] = task["wanted"] / targets[name] if targets[name] else None
    return found


def _task(part: Part, threshold: float, bins: int) -> dict[str, Any]:
    """All metrics of one task; None where a class is missing."""
    count, wanted = len(part.label), int(part.label.sum())
    found: dict[str, Any] = {
        "pairs": count, "wanted": wanted, "threshold": threshold, "auc": None, "gauc": gauc(part), "log_loss": None,
        "roc": None, **_at_threshold(part, threshold), **calibration(part, bins),
    }  # fmt: skip
    if part.has_both:
        clipped = np.clip(part.probability, 1e-7, 1 - 1e-7)
        found["auc"] = float(sk.roc_auc_score(part.label, part.probability))
        found["log_loss"] = float(sk.log_loss(part.label, clipped))
        found["roc"] = roc(part)
    return found


def gauc(part: Part) -> float | None:
    """Mean area under the ROC curve over the shoppers with both classes (Zhu et al., KDD 2018, without weights).

    The area of one shopper is the Mann-Whitney statistic of ranks within the shopper, ties sharing their mean rank.
    """
    if not len(part.row):
        return None
    shopper = np.unique(part.row, return_inverse=True)[1]
    order = np.lexsort((part.probability, shopper))
    # Ranks over (shopper, probability) minus the pairs of earlier shoppers are ranks within the shopper.
    step = np.r_[1, (np.diff(shopper[order]) != 0) | (np.diff(part.probability[order]) != 0)]
    rank = np.empty(len(order))
    rank[order] = rankdata(np.cumsum(step), method="average")
    total = np.bincount(shopper)
    rank -= (np.cumsum(total) - total)[shopper]
    wanted = np.bincount(shopper, weights=part.label)
    summed = np.bincount(shopper, weights=rank * part.label)
    both = (wanted > 0) & (wanted < total)
    if not both.any():
        return None
    area = (summed - wanted * (wanted + 1) / 2)[both] / (wanted * (total - wanted))[both]
    return float(area.mean())


def roc(part: Part) -> dict[str, list[float]]:
    """At most ROC_POINTS points from (0, 0) to (1, 1); thresholds are finite, as JSON and KFP need them."""
    fpr, tpr, threshold = sk.roc_curve(part.label, part.probability)
    keep = np.unique(np.linspace(0, len(fpr) - 1, ROC_POINTS).astype(int))
    columns = {"fpr": fpr[keep], "tpr": tpr[keep], "threshold": np.minimum(threshold[keep], 1.0)}
    return {name: column.astype(float).tolist() for name, column in columns.items()}


def best_threshold(part: Part) -> float:
    """Return the threshold with the highest F1; 0.5 if a class is missing."""
    if not part.has_both:
        return 0.5
    precision, recall, threshold = sk.precision_recall_curve(part.label, part.probability)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(threshold[f1[:-1].argmax()])


def _at_threshold(part: Part, threshold: float) -> dict[str, Any]:
    if not len(part.label):
        return dict.fromkeys(("accuracy", "precision", "recall", "f1", "confusion"))
    answer = part.probability >= threshold
    # With a threshold above all probabilities, precision is 0 (the type stub does not accept the number).
    scores = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    return {
        "accuracy": float(sk.accuracy_score(part.label, answer)),
        **{name: float(score(part.label, answer, zero_division=0.0)) for name, score in scores.items()},  # pyright: ignore[reportArgumentType]
        "confusion": sk.confusion_matrix(part.label, answer, labels=[False, True]).tolist(),
    }  # fmt: skip


def calibration(part: Part, bins: int) -> dict[str, Any]:
    """Bins of equal counts by probability, their mean error, and predicted over observed target events.

    Source: Nguyen and O'Connor, Posterior calibration and exploratory analysis for NLP models (EMNLP 2015). Bins of
    equal width would put nearly all pairs into the first bin.
    """
    count = len(part.label)
    if not count:
        return {"calibration_error": None, "calibration_ratio": None, "calibration": []}
    found, error = [], 0.0
    for pairs in np.array_split(np.argsort(part.probability, kind="stable"), min(bins, count)):
        predicted, observed = float(part.probability[pairs].mean()), float(part.label[pairs].mean())
        error += abs(predicted - observed) * len(pairs) / count
        found.append({"predicted": predicted, "observed": observed, "pairs": len(pairs)})
    observed = float(part.label.sum())
    ratio = float(part.probability.sum()) / observed if observed else None
    return {"calibration_error": error, "calibration_ratio": ratio, "calibration": found}
