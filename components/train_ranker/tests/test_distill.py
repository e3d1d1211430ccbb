"""Distillation: labels are mixed by weight, validation labels stay, and a student gets closer to its teacher."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss

from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.offline import TorchModels, load_ranker, load_retriever
from components.train_ranker.distill import distil_pairs, probabilities
from components.train_ranker.examples import PairRows
from components.train_ranker.job import SOFT_VALIDATION, VALIDATION
from components.train_ranker.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def taught(tiny_run, one_process, all_pairs, tmp_path_factory):
    """(pairs with observed labels, the same pairs with the teacher's probabilities as labels)."""
    soft = tmp_path_factory.mktemp("distilled") / "soft"
    distil_pairs(tiny_run.features, (tiny_run.retriever, one_process), all_pairs, soft, weight=1.0)
    return all_pairs, soft


@pytest.fixture(scope="module")
def predict(tiny_run):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)

    def compute(ranker, pairs):
        models = TorchModels(load_retriever(tiny_run.retriever), load_ranker(ranker))
        return probabilities(models, pairs, catalog, spec)

    return compute


def test_distillation_mixes_labels_and_keeps_everything_else(tiny_run, taught, one_process, predict, tmp_path):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    distil_pairs(tiny_run.features, (tiny_run.retriever, one_process), taught[0], tmp_path / "half", weight=0.25)
    hard = PairRows.read([taught[0] / "ranker-0.parquet"], spec)
    predicted = predict(one_process, hard)
    mixed = PairRows.read([tmp_path / "half" / "ranker-0.parquet"], spec)
    np.testing.assert_allclose(mixed.label, 0.75 * hard.label + 0.25 * predicted, atol=1e-6)
    np.testing.assert_array_equal(mixed.item, hard.item)
    np.testing.assert_array_equal(mixed.dense, hard.dense)
    names = {path.name for path in taught[0].iterdir()}
    assert {path.name for path in (tmp_path / "half").iterdir()} == {*names, SOFT_VALIDATION}
    learned = PairRows.read([tmp_path / "half" / SOFT_VALIDATION], spec)
    observed = PairRows.read([taught[0] / VALIDATION], spec)
    np.testing.assert_allclose(learned.label, 0.75 * observed.label + 0.25 * predict(one_process, observed), atol=1e-6)
    validation = [pq.read_table(folder / VALIDATION) for folder in (tmp_path / "half", taught[0])]
    assert validation[0].equals(validation[1])


def test_student_trained_on_soft_labels_is_closer_to_its_teacher(
    tiny_run, taught, one_process, config, predict, tmp_path
):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    small = config.replace(embedding_dim=4, hidden_dim=8, epochs=6)
    for name, pairs in (("alone", taught[0]), ("taught", taught[1])):
        train(tiny_run.features, tiny_run.retriever, tmp_path / name, small, pairs=pairs)
    validation = PairRows.read([taught[0] / "validation.parquet"], spec)
    teacher = predict(one_process, validation).astype(np.float64)

    def distance(student):
        """Mean cross-entropy of the student's probabilities under the teacher's."""
        predicted = predict(student, validation).astype(np.float64)
        labels = np.r_[np.ones(len(predicted)), np.zeros(len(predicted))]
        return log_loss(labels, np.r_[predicted, predicted], sample_weight=np.r_[teacher, 1 - teacher])

    assert distance(tmp_path / "taught") < distance(tmp_path / "alone")
