"""What is answered to somebody of whom nothing is known is learned, not guessed."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.offline import TorchModels, load_ranker, load_retriever
from components.train_ranker.distill import probabilities
from components.train_ranker.examples import PairRows, write_pairs


@pytest.mark.slow
def test_their_probabilities_are_truer_than_those_of_a_ranker_that_never_saw_any(
    tiny_run, fit, alone, config, tmp_path
):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)
    path = tmp_path / "test.parquet"
    write_pairs(tiny_run.features, tiny_run.retriever, "test", path, config.candidates, anonymous=1.0)
    pairs = PairRows.read([path], spec)
    nobody = pairs.take(np.flatnonzero(pairs.features["sequence"].lengths == 0))
    assert len(nobody) == len(pairs) / 2
    retriever = load_retriever(tiny_run.retriever)
    before, now = (
        log_loss(nobody.label, probabilities(TorchModels(retriever, load_ranker(model)), nobody, catalog, spec))
        for model in (alone, fit(1, anonymous_share=0.5))
    )
    assert now < before, (now, before)
