"""Whether anything in the ranker's inputs or in the measuring betrays the labels.

A plain model learns the validation pairs with their labels shuffled: on the test pairs it must be at chance, or what is
measured as skill is there without any. And no single input may all but tell the label.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.evaluate_model.answers import Pool
from components.shared.pairs import DENSE_NAMES

_SHUFFLES = 20


def leakage(validation: Pool, test: Pool, seed: int = 0) -> dict[str, Any] | None:
    """Areas under the ROC curve on the sampled test pairs; None where a split has one class alone.

    Args:
        validation: Pairs to learn from.
        test: Pairs to be judged on.
        seed: Of the shuffles.

    Returns:
        shuffled: mean over models that learned shuffled labels, with shuffled_error, its standard error.
        learned: of the same model with the true labels.
        strongest, strongest_auc: the input that alone separates best (either way), and how well.
    """
    learn, judge = validation.label[validation.sampled], test.label[test.sampled]
    if len(set(learn.tolist())) < 2 or len(set(judge.tolist())) < 2:
        return None
    random = np.random.default_rng(seed)
    shuffled = np.array(
        [_area(validation.inputs, random.permutation(learn), test.inputs, judge) for _ in range(_SHUFFLES)]
    )
    alone = np.array([_alone(judge, test.inputs[:, column]) for column in range(test.inputs.shape[1])])
    return {
        "shuffled": float(shuffled.mean()), "shuffled_error": float(shuffled.std(ddof=1) / np.sqrt(len(shuffled))),
        "learned": _area(validation.inputs, learn, test.inputs, judge),
        "strongest": DENSE_NAMES[int(alone.argmax())], "strongest_auc": float(alone.max()),
    }  # fmt: skip


def _area(inputs: np.ndarray, label: np.ndarray, judged: np.ndarray, truth: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    model.fit(np.clip(inputs, -50, 50), label)
    return float(roc_auc_score(truth, model.decision_function(np.clip(judged, -50, 50))))


def _alone(truth: np.ndarray, values: np.ndarray) -> float:
    area = float(roc_auc_score(truth, values))
    return max(area, 1.0 - area)
