"""Leakage audit of the ranker's inputs and of the evaluation.

If labels are shuffled among each shopper's candidates before the pairs are built, a simple model trained on the
validation pairs must be at chance on the test pairs; otherwise building the pairs leaks the labels. With the true
labels, neither the simple model nor a single input may predict them almost perfectly, as this indicates future data.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from components.evaluate_model.answers import Pool, model_answers
from components.shared.features.columns import DenseInput
from components.shared.features.ragged import Ragged, offsets_of
from components.shared.features.rows import Rows
from components.shared.recommender.recommender import Recommender

_SHOPPERS = 500
"""Maximum number of shoppers of a split whose labels are shuffled; their candidates are computed again."""


def with_shuffled_labels(recommender: Recommender, rows: Rows, seed: int = 0) -> Pool:
    """Pairs of a sample of shoppers, built again with labels at random positions among each shopper's candidates.

    Args:
        recommender: The models and statistics as of the rows' timestamp.
        rows: A split; at most 500 evenly spaced rows of it are used.
        seed: Seed of the shuffle.
    """
    random = np.random.default_rng(seed)
    chosen = rows.take(np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SHOPPERS)).astype(np.int64)))
    histories = recommender.store.before(chosen.shopper, chosen.timestamp, recommender.spec.max_history)
    answers = recommender.rank(histories, len(recommender.catalog))
    drawn = [
        random.choice(answer.item, min(wanted, len(answer.item)), replace=False)
        for answer, wanted in zip(answers, chosen.targets.lengths.tolist(), strict=True)
    ]
    targets = Ragged.mean(offsets_of(np.array([len(items) for items in drawn])), np.concatenate(drawn))
    return model_answers(recommender, Rows(chosen.shopper, chosen.timestamp, chosen.features, targets), 1)[1]


def leakage(validation: Pool, test: Pool, shuffled: tuple[Pool, Pool]) -> dict[str, Any] | None:
    """Areas under the ROC curve on the sampled test pairs; None if a class is missing or too few shoppers have both.

    Args:
        validation: Pairs to train on.
        test: Pairs to evaluate on.
        shuffled: Pairs of the same splits from `with_shuffled_labels`.

    Returns:
        shuffled: of a model trained on shuffled labels, mean of the areas per shopper; with shuffled_error, its
            standard error, and shuffled_shoppers, the number of shoppers.
        learned: of the same model trained on the true labels, over all pairs.
        strongest, strongest_auc: the single input that separates best (in either direction), and its area.
    """
    judged = test.label[test.sampled]
    if any(len(set(pool.label[pool.sampled].tolist())) < 2 for pool in (validation, test, *shuffled)):
        return None
    areas = _by_shopper(shuffled[1], _scores(_learned(shuffled[0]), shuffled[1]))
    if len(areas) < 2:
        return None
    alone = np.array([_alone(judged, test.inputs[:, column]) for column in range(test.inputs.shape[1])])
    return {
        "shuffled": float(areas.mean()), "shuffled_error": float(areas.std(ddof=1) / np.sqrt(len(areas))),
        "shuffled_shoppers": len(areas),
        "learned": float(roc_auc_score(judged, _scores(_learned(validation), test))),
        "strongest": DenseInput(int(alone.argmax())).label, "strongest_auc": float(alone.max()),
    }  # fmt: skip


def _learned(pool: Pool) -> Pipeline:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    return model.fit(np.clip(pool.inputs, -50, 50), pool.label[pool.sampled])


def _scores(model: Pipeline, pool: Pool) -> np.ndarray:
    return model.decision_function(np.clip(pool.inputs, -50, 50))


def _by_shopper(pool: Pool, scores: np.ndarray) -> np.ndarray:
    """Area of each shopper with both labels, float64 [shoppers with both]."""
    row, label = pool.row[pool.sampled], pool.label[pool.sampled]
    areas = []
    for shopper in np.unique(row[label]):
        own = row == shopper
        if not label[own].all():
            areas.append(roc_auc_score(label[own], scores[own]))
    return np.array(areas)


def _alone(truth: np.ndarray, values: np.ndarray) -> float:
    area = float(roc_auc_score(truth, values))
    return max(area, 1.0 - area)
