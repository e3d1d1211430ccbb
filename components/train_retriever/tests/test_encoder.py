"""The production retriever with sequence encoders: order matters, and training, evaluation and export agree."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from components.compile_model.config import TableFormat
from components.compile_model.export import export_user_tower
from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.batch import keyed_jagged
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
)
from components.shared.models.retriever import Retriever, RetrieverConfig, oldest_first
from components.shared.recommender.offline import TorchModels, item_vectors, load_retriever
from components.shared.recommender.recommender import concatenated
from components.shared.storage import read_json

ENCODERS = [
    PooledConfig(hidden_dim=8, dropout=0.0), GruConfig(hidden_dim=8, dropout=0.0), ConvConfig(dropout=0.0),
    AttentionConfig(layers=1, hidden_dim=8, dropout=0.0), HstuConfig(layers=1, dropout=0.0),
]  # fmt: skip


def encoder_name(encoder):
    return type(encoder).__name__


def test_oldest_first_reverses_rows_and_drops_padding():
    kept = torch.tensor([1, 1, 0, 1, 0, 0, 1], dtype=torch.bool)
    index, offsets = oldest_first(kept, torch.tensor([3, 0, 1, 3]))
    assert index.tolist() == [1, 0, 3, 6] and offsets.tolist() == [0, 2, 2, 3, 4]


@pytest.fixture(scope="module")
def shop(tiny_run):
    """(spec, catalog, validation rows)."""
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)
    return spec, catalog, Rows.read(tiny_run.features / "rows" / "validation.parquet", spec)


def retriever(spec, encoder):
    torch.manual_seed(1)
    model = Retriever(RetrieverConfig.from_spec(spec, 8, 16, encoder), torch.device("cpu"))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS, ids=encoder_name)
def test_training_evaluation_and_export_give_the_same_vectors(shop, encoder, tmp_path):
    spec, catalog, rows = shop
    model = retriever(spec, encoder)
    model.config.write(tmp_path / "config.json")
    assert RetrieverConfig.read(tmp_path / "config.json") == model.config
    vectors = torch.from_numpy(item_vectors(model, catalog)[0])
    features = {name: ragged.take(np.arange(20)) for name, ragged in rows.features.items()}
    with torch.inference_mode():
        jagged = model.user_vectors(keyed_jagged(features, spec.user_features), vectors).numpy()
    padded = concatenated(features, [(feature.name, feature.max_length) for feature in spec.user_features])
    np.testing.assert_allclose(TorchModels(model, None, vectors).user_vectors(*padded), jagged, atol=1e-5)
    export_user_tower(model, tmp_path / "user.onnx", TableFormat(storage="fp32"), vectors=vectors)
    session = onnxruntime.InferenceSession(tmp_path / "user.onnx")
    for count in (1, 20):
        inputs = {"ids": padded[0][:count], "weights": padded[1][:count]}
        np.testing.assert_allclose(session.run(None, inputs)[0], jagged[:count], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [None, *ENCODERS], ids=lambda encoder: encoder_name(encoder) if encoder else "none")
def test_order_matters_only_with_an_order_aware_encoder(shop, encoder):
    spec, catalog, rows = shop
    model = retriever(spec, encoder)
    vectors = torch.from_numpy(item_vectors(model, catalog)[0])
    features = {name: ragged.take(np.arange(20)) for name, ragged in rows.features.items()}
    sequence = features["sequence"]
    row = np.repeat(np.arange(20), sequence.lengths)
    reversed_order = np.lexsort((-np.arange(len(row)), row))
    other = {**features, "sequence": dataclasses.replace(
        sequence, values=sequence.values[reversed_order], weights=sequence.weights[reversed_order])}  # fmt: skip
    with torch.inference_mode():
        one, two = (model.user_vectors(keyed_jagged(x, spec.user_features), vectors).numpy() for x in (features, other))
    assert np.allclose(one, two, atol=1e-4) == (encoder is None or isinstance(encoder, PooledConfig))


@pytest.mark.slow
def test_encoder_trains_the_same_in_two_processes_and_is_saved(fit, tiny_run):
    encoder = GruConfig(hidden_dim=8, dropout=0.0)
    one_process, two_processes = fit(1, encoder=encoder), fit(2, encoder=encoder)
    curves = [read_json(Path(trained.folder) / "curve.json") for trained in (one_process, two_processes)]
    losses = [[point["loss"] for point in points] for points in curves]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[0][1] < losses[0][0]
    assert load_retriever(one_process.folder).config.encoder == encoder


def test_sequences_longer_than_the_encoders_max_length_are_refused(shop):
    with pytest.raises(InputError, match="encoder: max_length is 3, but sequences have up to"):
        RetrieverConfig.from_spec(shop[0], 8, 16, AttentionConfig(max_length=3))
