"""The predictor's engine on a trained and compiled model: a batch gets the same answers as single requests."""

import numpy as np
import pytest

from components.shared.recommender.recommender import Recommender
from components.shared.release.golden import read_golden
from serving.engine import Engine
from serving.protocol import parse_instance


@pytest.mark.slow
def test_trained_model_answers_a_batch_like_single_requests(tiny_run):
    """Within float32 rounding: matrix products of one row and of many rows may sum in another order."""
    engine = Engine(Recommender.open(tiny_run.compiled), "trained", "bundle")
    asks = [parse_instance(golden.request) for golden in read_golden(tiny_run.compiled)]
    engine.check_golden(tiny_run.compiled)
    names = [f"request-{position}" for position in range(len(asks))]
    together = engine.answer(asks, names)
    for ask, name, answer in zip(asks, names, together, strict=True):
        (alone,) = engine.answer([ask], [name])
        assert [item.item_id for item in answer.items] == [item.item_id for item in alone.items]
        assert [item.reasons for item in answer.items] == [item.reasons for item in alone.items]
        scores, own = ([item.score for item in found.items] for found in (answer, alone))
        np.testing.assert_allclose(scores, own, rtol=0, atol=1e-6)
