"""Items beyond the vocabulary share hash rows: in the catalog, in sequences, in the metrics, and for the models."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.build_features.config import FeatureOptions, VocabularyConfig
from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.features.id_hashing import hashed_rows
from components.shared.features.rows import Rows
from components.shared.models.encoders.config import GruConfig
from components.shared.models.retriever import RetrieverConfig
from components.shared.recommender.offline import item_vectors, load_retriever
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train

ROWS = 3
SOME = VocabularyConfig(min_item_events=22, item_hash_rows=ROWS)
"""Most of the made-up shop's items are seen too rarely."""


def test_late_items_take_the_row_of_their_hash_and_early_ones_their_own(shop, built_from):
    made, plain = (built_from(shop, vocabulary=one) for one in (SOME, SOME.replace(item_hash_rows=0)))
    known, catalog = plain.catalog.known_items, made.catalog
    assert catalog.known_items == known and 0 < known < len(catalog) - 10
    assert made.spec.item_hash_rows == ROWS
    assert made.spec.item("item").rows == made.spec.user("sequence").rows == known + 1 + ROWS
    late = catalog.item_id.to_pylist()[known + 1 :]
    wanted = [*range(known + 1), *(known + 1 + hashed_rows(late, ROWS))]
    assert catalog.features["item"].values.tolist() == wanted
    assert plain.catalog.features["item"].values.tolist() == [*range(known + 1), *[0] * len(late)]
    sequences = [Rows.read(one.folder / "rows" / "retriever.parquet", one.spec).features["sequence"]
                 for one in (made, plain)]  # fmt: skip
    hashed = sequences[0].values > known
    assert hashed.any() and (sequences[1].values[hashed] == 0).all()
    np.testing.assert_array_equal(sequences[0].values[~hashed], sequences[1].values[~hashed])


def test_collisions_are_reported_beside_what_is_expected(shop, built_from):
    made = built_from(shop, vocabulary=SOME)
    late = [item for item in made.catalog.features["item"].values.tolist() if item > made.catalog.known_items]
    metrics = made.summary.metrics()
    assert (metrics["hashed_items"], metrics["hash_rows"]) == (len(late), ROWS)
    assert metrics["hash_collisions_counted"] == pytest.approx(np.mean([late.count(row) > 1 for row in late]), abs=1e-6)
    assert metrics["hash_collisions_expected"] == pytest.approx(1 - (1 - 1 / ROWS) ** (len(late) - 1), abs=1e-6)
    assert made.summary.metadata()["hash_collisions_counted"] == metrics["hash_collisions_counted"]


def test_by_default_late_items_are_unknown_and_nothing_is_said_of_hashing(built):
    assert built.spec.item_hash_rows == FeatureOptions().vocabulary.item_hash_rows == 0
    assert not [name for name in {**built.summary.metrics(), **built.summary.metadata()} if "hash_" in name[:5]]


def test_what_cannot_be_is_refused(shop, built_from):
    with pytest.raises(InputError, match=r"features.vocabulary.item_hash_rows is -1\n.*0 or more"):
        FeatureOptions.read({"vocabulary": {"item_hash_rows": -1}}, "features")
    spec = built_from(shop, vocabulary=SOME).spec
    with pytest.raises(InputError, match="encoder: the features were built with item_hash_rows 3") as caught:
        RetrieverConfig.from_spec(spec, 8, 16, GruConfig())
    assert "item_hash_rows 0" in caught.value.fix


@pytest.mark.slow
def test_a_retriever_learns_the_hash_rows_and_tells_late_items_apart(shop, built_from, tmp_path):
    made = built_from(shop, vocabulary=SOME)
    config = RetrieverTraining(sampling=SamplingConfig(batch_size=64, seed=1), embedding_dim=8, hidden_dim=8, epochs=1)
    train(made.folder, tmp_path / "model", config)
    touched = load_file(tmp_path / "model" / "trained_rows.safetensors")
    rows = next(rows for name, rows in touched.items() if "item_bags" in name and "t_item." in name)
    assert rows.shape == (made.catalog.known_items + 1 + ROWS,) and rows[-ROWS:].all()
    retriever = load_retriever(tmp_path / "model")
    vectors, _ = item_vectors(retriever, Catalog.read(made.folder / "items.parquet", made.spec))
    assert torch.from_numpy(vectors).isfinite().all() and vectors.shape == (len(made.catalog), 8)
