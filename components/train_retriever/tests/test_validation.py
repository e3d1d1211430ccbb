"""Validation metrics compared with scikit-learn and an explicit loop, in one part and in several."""

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from components.shared.features.ragged import Ragged, offsets_of
from components.shared.features.rows import Rows
from components.train_retriever import validation
from components.train_retriever.validation import mean_recall, rating_r2

ROWS, ITEMS = 37, 50


@pytest.fixture(params=[1, 7, ROWS], ids="{} rows per part".format)
def scored(request, monkeypatch):
    """A rated split and scores of all items for its rows; `shopper` is the row number."""
    monkeypatch.setattr(validation, "_SCORES", request.param * ITEMS)
    random = np.random.default_rng(4)
    items = [random.choice(np.arange(1, ITEMS), random.integers(1, 30), replace=False) for _ in range(ROWS)]
    offsets, flat = offsets_of(np.array([len(row) for row in items])), np.concatenate(items)
    rated = Ragged(offsets, flat, random.integers(1, 6, len(flat)).astype(np.float32))
    rows = Rows(np.arange(ROWS), np.zeros(ROWS, np.int64), {}, Ragged.mean(offsets, flat), rated)
    scores = torch.from_numpy(random.standard_normal((ROWS, ITEMS)).astype(np.float32))
    return rows, scores, lambda part: scores[torch.from_numpy(part.shopper)].clone()


def test_rating_r2_matches_scikit_learn(scored):
    rows, scores, score = scored
    row, truth = np.repeat(np.arange(ROWS), rows.targets.lengths), rows.rated.weights
    predicted = scores.numpy()[row, rows.targets.values]
    mean = float(truth.mean(dtype=np.float64))
    assert rating_r2(rows, score, ITEMS, mean) == pytest.approx(r2_score(truth, predicted + mean), rel=1e-5)
    assert rating_r2(rows, lambda part: torch.zeros(len(part), ITEMS), ITEMS, mean) == pytest.approx(0, abs=1e-9)


def test_recall_divides_by_at_most_20_targets_and_ignores_row_zero(scored):
    rows, scores, score = scored
    expected = []
    for at in range(ROWS):
        best = [item for item in np.argsort(-scores[at].numpy()) if item][:20]
        targets = rows.targets.take(np.array([at])).values
        expected.append(len(set(best) & set(targets.tolist())) / min(20, len(targets)))
    assert mean_recall(rows, score, ITEMS) == pytest.approx(np.mean(expected))
