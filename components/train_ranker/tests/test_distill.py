"""Distillation: labels are mixed as asked, validation stays, and a student of the teacher alone follows it."""

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
def taught(tiny_run, alone, all_pairs, tmp_path_factory):
    """(pairs as they happened, the same with the teacher's probabilities as labels)."""
    soft = tmp_path_factory.mktemp("distilled") / "soft"
    distil_pairs(tiny_run.features, (tiny_run.retriever, alone), all_pairs, soft, weight=1.0)
    return all_pairs, soft


@pytest.fixture(scope="module")
def said_by(tiny_run):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)

    def compute(ranker, pairs):
        models = TorchModels(load_retriever(tiny_run.retriever), load_ranker(ranker))
        return probabilities(models, pairs, catalog, spec)

    return compute


def test_labels_are_mixed_and_everything_else_stays(tiny_run, taught, alone, said_by, tmp_path):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    distil_pairs(tiny_run.features, (tiny_run.retriever, alone), taught[0], tmp_path / "half", weight=0.25)
    hard = PairRows.read([taught[0] / "ranker-0.parquet"], spec)
    said = said_by(alone, hard)
    mixed = PairRows.read([tmp_path / "half" / "ranker-0.parquet"], spec)
    np.testing.assert_allclose(mixed.label, 0.75 * hard.label + 0.25 * said, atol=1e-6)
    np.testing.assert_array_equal(mixed.item, hard.item)
    np.testing.assert_array_equal(mixed.dense, hard.dense)
    names = {path.name for path in taught[0].iterdir()}
    assert {path.name for path in (tmp_path / "half").iterdir()} == {*names, SOFT_VALIDATION}
    learned = PairRows.read([tmp_path / "half" / SOFT_VALIDATION], spec)
    happened = PairRows.read([taught[0] / VALIDATION], spec)
    np.testing.assert_allclose(learned.label, 0.75 * happened.label + 0.25 * said_by(alone, happened), atol=1e-6)
    validation = [pq.read_table(folder / VALIDATION) for folder in (tmp_path / "half", taught[0])]
    assert validation[0].equals(validation[1])


def test_a_small_student_follows_its_teacher(tiny_run, taught, alone, config, said_by, tmp_path):
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    small = config.replace(embedding_dim=4, hidden_dim=8, epochs=6)
    for name, pairs in (("alone", taught[0]), ("taught", taught[1])):
        train(tiny_run.features, tiny_run.retriever, tmp_path / name, small, pairs=pairs)
    shown = PairRows.read([taught[0] / "validation.parquet"], spec)
    teacher = said_by(alone, shown).astype(np.float64)

    def distance(student):
        """Mean cross-entropy of the student's probabilities under the teacher's."""
        said = said_by(student, shown).astype(np.float64)
        twice = np.r_[np.ones(len(said)), np.zeros(len(said))]
        return log_loss(twice, np.r_[said, said], sample_weight=np.r_[teacher, 1 - teacher])

    assert distance(tmp_path / "taught") < distance(tmp_path / "alone")
