"""Quality of the recommendations for anonymous shoppers, compared with popularity baselines."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluate_model.compare import MODEL
from components.shared.evaluation.ranking_metrics import ndcg_at_k
from components.shared.features.rows import Rows
from components.shared.recommender.recommender import Recommender, target_probability


def anonymous_shoppers(
    recommender: Recommender, rows: Rows, others: Mapping[str, np.ndarray], k: int = 10
) -> dict[str, Any]:
    """Rank once for a shopper without id and history and compare the list with every test shopper's targets.

    Args:
        recommender: The models and statistics as of the rows' timestamp.
        rows: The test split.
        others: Lists of other methods that are the same for all shoppers, catalog rows, best first, by name.
        k: Length of the lists.

    Returns:
        ndcg_at_10: mean over shoppers, by method, the model as `model`. predicted: mean probability of its items.
        observed: share of its items that are targets of a shopper, mean over shoppers.
    """
    anonymous = recommender.store.before(np.zeros(1, np.int64), rows.timestamp[:1], recommender.spec.max_history)
    answer = recommender.rank(anonymous, k)[0]
    found = {name: _hits(items[:k], rows) for name, items in {MODEL: answer.item, **others}.items()}
    probability = target_probability(answer.tasks, answer.dense)
    return {
        "ndcg_at_10": {name: float(ndcg_at_k(hits, rows.targets.lengths, k).mean()) for name, hits in found.items()},
        "predicted": float(probability.mean()), "observed": float(found[MODEL].mean()),
    }  # fmt: skip


def _hits(items: np.ndarray, rows: Rows) -> np.ndarray:
    """Whether each item is a target of each row, bool [rows, items]."""
    row = np.repeat(np.arange(len(rows)), rows.targets.lengths)
    hits = np.zeros((len(rows), len(items)), bool)
    for position, item in enumerate(items.tolist()):
        hits[row[rows.targets.values == item], position] = True
    return hits
