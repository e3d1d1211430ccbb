"""What decides which epoch was the best: recall of shoppers' next items, or how much of their ratings is explained."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from components.shared.features.rows import Rows

Score = Callable[[Rows], torch.Tensor]
"""Scores of every item of the catalog for each row, float [rows, items]; row 0 of the catalog is no item."""

_SCORES = 2**26
"""Scores that are held at once: 256 MB."""


def mean_recall(rows: Rows, score: Score, items: int, k: int = 20) -> float:
    """Mean share of each row's targets among the k best items; of more than k targets k can be found.

    Args:
        rows: A split.
        score: The model.
        items: Rows of the catalog.
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
    """Share of the ratings' squared distance from `mean` that is explained, out-of-sample R²: 1 is perfect, 0 the mean.

    Args:
        rows: A split with ratings.
        score: The model; a rating is its score and the mean.
        items: Rows of the catalog.
        mean: Of the training ratings.
    """
    error = spread = 0.0
    for part in _parts(rows, items):
        assert part.rated is not None, "a split with ratings"
        row = torch.from_numpy(np.repeat(np.arange(len(part)), part.rated.lengths))
        scores = score(part).cpu()[row, torch.from_numpy(part.rated.values)].double().numpy()
        rating = part.rated.weights.astype(np.float64)
        error += float(np.square(scores + mean - rating).sum())
        spread += float(np.square(rating - mean).sum())
    # Where everybody gives the mean there is nothing to explain, and any error is too much.
    return 1 - error / max(spread, 1e-12)


def _parts(rows: Rows, items: int) -> Iterator[Rows]:
    size = min(512, max(1, _SCORES // items))
    for start in range(0, len(rows), size):
        yield rows.take(np.arange(start, min(start + size, len(rows))))
