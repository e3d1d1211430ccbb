"""Validation metrics that select the best epoch: recall of shoppers' next items, or R² of their ratings."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from components.shared.features.rows import Rows

Score = Callable[[Rows], torch.Tensor]
"""Scores of every item of the catalog for each row, float [rows, items]; row 0 of the catalog is not an item."""

_SCORES = 2**26
"""Maximum number of scores in memory at a time: 256 MB."""


def mean_recall(rows: Rows, score: Score, items: int, k: int = 20) -> float:
    """Return the mean share of each row's targets among the k best items; more than k targets count as k.

    Args:
        rows: Rows of a split.
        score: Scores of the model.
        items: Number of catalog rows.
        k: Length of the lists.
    """
    recalls = []
    for part in _parts(rows, items):
        scores = score(part)
        scores[:, 0] = float("-inf")
        top = scores.topk(min(k, items), 1).indices.cpu().numpy()
        row = np.repeat(np.arange(len(part)), part.targets.lengths)
        hits = np.isin(row * items + part.targets.values, np.arange(len(part))[:, None] * items + top)
        recalls.append(np.bincount(row, weights=hits, minlength=len(part)) / np.minimum(part.targets.lengths, k))
    return float(np.concatenate(recalls).mean())


def rating_r2(rows: Rows, score: Score, items: int, mean: float) -> float:
    """Return the out-of-sample R² of the ratings: 1 for perfect predictions, 0 for always predicting `mean`.

    Args:
        rows: Rows of a split with ratings.
        score: Scores of the model; a predicted rating is the score plus `mean`.
        items: Number of catalog rows.
        mean: Mean of the training ratings.
    """
    error = spread = 0.0
    for part in _parts(rows, items):
        assert part.rated is not None, "a split with ratings"
        row = torch.from_numpy(np.repeat(np.arange(len(part)), part.rated.lengths))
        scores = score(part).cpu()[row, torch.from_numpy(part.rated.values)].double().numpy()
        rating = part.rated.weights.astype(np.float64)
        error += float(np.square(scores + mean - rating).sum())
        spread += float(np.square(rating - mean).sum())
    # If all ratings equal the mean, there is no variance to explain, and any error gives a very low R².
    return 1 - error / max(spread, 1e-12)


def _parts(rows: Rows, items: int) -> Iterator[Rows]:
    size = min(512, max(1, _SCORES // items))
    for start in range(0, len(rows), size):
        yield rows.take(np.arange(start, min(start + size, len(rows))))
