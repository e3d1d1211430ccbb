"""Training on anonymous shoppers improves the probabilities for shoppers without a history."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.offline import TorchModels, load_ranker, load_retriever
from components.train_ranker.distill import probabilities
from components.train_ranker.examples import PairRows, write_pairs


@pytest.mark.slow
def test_training_on_anonymous_shoppers_lowers_their_log_loss(tiny_run, fit, one_process, config, tmp_path):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)
    path = tmp_path / "test.parquet"
    write_pairs(tiny_run.features, tiny_run.retriever, "test", path, config.candidates, anonymous=1.0)
    pairs = PairRows.read([path], spec)
    anonymous = pairs.take(np.flatnonzero(pairs.features["sequence"].lengths == 0))
    assert len(anonymous) == len(pairs) / 2
    retriever = load_retriever(tiny_run.retriever)
    without, trained = (
        log_loss(anonymous.label, probabilities(TorchModels(retriever, load_ranker(model)), anonymous, catalog, spec))
        for model in (one_process, fit(1, anonymous_share=0.5))
    )
    assert trained < without, (trained, without)
