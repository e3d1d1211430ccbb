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
HASHED = VocabularyConfig(min_item_events=22, item_hash_rows=ROWS)
"""Most items of the synthetic shop are too rare for a row of their own."""


def test_rare_items_share_hash_rows_and_frequent_ones_have_their_own(shop, built_from):
    built_shop, plain = (built_from(shop, vocabulary=one) for one in (HASHED, HASHED.replace(item_hash_rows=0)))
    known, catalog = plain.catalog.known_items, built_shop.catalog
    assert catalog.known_items == known and 0 < known < len(catalog) - 10
    assert built_shop.spec.item_hash_rows == ROWS
    assert built_shop.spec.item("item").rows == built_shop.spec.user("sequence").rows == known + 1 + ROWS
    rare = catalog.item_id.to_pylist()[known + 1 :]
    expected = [*range(known + 1), *(known + 1 + hashed_rows(rare, ROWS))]
    assert catalog.features["item"].values.tolist() == expected
    assert plain.catalog.features["item"].values.tolist() == [*range(known + 1), *[0] * len(rare)]
    sequences = [Rows.read(one.folder / "rows" / "retriever.parquet", one.spec).features["sequence"]
                 for one in (built_shop, plain)]  # fmt: skip
    hashed = sequences[0].values > known
    assert hashed.any() and (sequences[1].values[hashed] == 0).all()
    np.testing.assert_array_equal(sequences[0].values[~hashed], sequences[1].values[~hashed])


def test_counted_and_expected_hash_collisions_are_reported(shop, built_from):
    built_shop = built_from(shop, vocabulary=HASHED)
    rare = [
        item for item in built_shop.catalog.features["item"].values.tolist() if item > built_shop.catalog.known_items
    ]
    metrics = built_shop.summary.metrics()
    assert (metrics["hashed_items"], metrics["hash_rows"]) == (len(rare), ROWS)
    assert metrics["hash_collisions_counted"] == pytest.approx(np.mean([rare.count(row) > 1 for row in rare]), abs=1e-6)
    assert metrics["hash_collisions_expected"] == pytest.approx(1 - (1 - 1 / ROWS) ** (len(rare) - 1), abs=1e-6)
    assert built_shop.summary.metadata()["hash_collisions_counted"] == metrics["hash_collisions_counted"]


def test_hashing_is_off_by_default_and_not_reported(built):
    assert built.spec.item_hash_rows == FeatureOptions().vocabulary.item_hash_rows == 0
    assert not [name for name in {**built.summary.metrics(), **built.summary.metadata()} if "hash_" in name[:5]]


def test_invalid_hash_rows_and_encoders_with_hashing_are_refused(shop, built_from):
    with pytest.raises(InputError, match=r"features.vocabulary.item_hash_rows is -1\n.*0 or more"):
        FeatureOptions.read({"vocabulary": {"item_hash_rows": -1}}, "features")
    spec = built_from(shop, vocabulary=HASHED).spec
    with pytest.raises(InputError, match="encoder: the features were built with item_hash_rows 3") as caught:
        RetrieverConfig.from_spec(spec, 8, 16, GruConfig())
    assert "item_hash_rows 0" in caught.value.fix


@pytest.mark.slow
def test_retriever_trains_the_hash_rows(shop, built_from, tmp_path):
    built_shop = built_from(shop, vocabulary=HASHED)
    config = RetrieverTraining(sampling=SamplingConfig(batch_size=64, seed=1), embedding_dim=8, hidden_dim=8, epochs=1)
    train(built_shop.folder, tmp_path / "model", config)
    trained_rows = load_file(tmp_path / "model" / "trained_rows.safetensors")
    rows = next(rows for name, rows in trained_rows.items() if "item_bags" in name and "t_item." in name)
    assert rows.shape == (built_shop.catalog.known_items + 1 + ROWS,) and rows[-ROWS:].all()
    retriever = load_retriever(tmp_path / "model")
    vectors, _ = item_vectors(retriever, Catalog.read(built_shop.folder / "items.parquet", built_shop.spec))
    assert torch.from_numpy(vectors).isfinite().all() and vectors.shape == (len(built_shop.catalog), 8)
