"""Content vectors end to end, in a shop whose items differ in nothing else, trained with and without them."""

import datetime

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.compile_model.compile import compile_model
from components.compile_model.config import CompileOptions, Limits, TableFormat
from components.compile_model.export import export_item_tower
from components.refresh_catalog.refresh import item_tower, refresh
from components.register_model.register import RegisterConfig, register
from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.batch import keyed_jagged
from components.shared.models.encoders.config import GruConfig
from components.shared.models.retriever import RetrieverConfig
from components.shared.recommender.offline import item_vectors, load_retriever
from components.shared.recommender.recommender import Recommender
from components.shared.release.signing import create_key
from components.shared.schema.sizes import size_named
from components.shared.schema.tables import EVENTS, ITEMS
from components.shared.storage import read_json
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train

TASTES, SOLD, NEW, DIM, SHOPPERS, DAYS = 6, 120, 60, 12, 200, 90
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=256, seed=7), embedding_dim=16, hidden_dim=32, epochs=6, patience=6,
    optimizer=OptimizerConfig(seed=7), launch=LaunchConfig(processes=1, threads=1),
)  # fmt: skip

LOOSE = CompileOptions(table_format="fp32", limits=Limits(min_rank_overlap=0.0, max_ndcg_loss=1.0), timed_requests=1)
"""Limits that always pass: items without a vector are identical to the model, so their order is arbitrary."""


def taste_of(item_id: str) -> int:
    """Taste of an item, the last part of its ID, which no model reads: 'sold-17-3' has taste 3."""
    return int(item_id.rpartition("-")[2])


def write_shop(folder, content: bool):
    """Items that differ only in vectors, which cluster by taste; each shopper buys two tastes, never a new item."""
    random = np.random.default_rng(11)
    centres = random.standard_normal((TASTES, DIM))
    items = []
    for number in range(SOLD + NEW):
        taste = number % TASTES
        vector = (centres[taste] + 0.4 * random.standard_normal(DIM)) * random.uniform(1, 50)
        name = f"{'sold' if number < SOLD else 'new'}-{number}-{taste}"
        # One item in ten has no vector.
        row = {"item_id": name, "title": "thing"}
        items.append({**row, "content_vector": vector.tolist()} if content and number % 10 != 9 else row)
    events = []
    for shopper in range(SHOPPERS):
        liked = [number for number in range(SOLD) if number % TASTES in (shopper % TASTES, (shopper + 1) % TASTES)]
        for day in range(shopper % 4, DAYS, 4):
            for second, item in enumerate(random.choice(liked, 3, replace=False).tolist()):
                time = START + datetime.timedelta(days=day, seconds=shopper * 60 + second)
                events.append({"user_id": f"u{shopper}", "item_id": items[item]["item_id"], "event_type": "purchase",
                               "timestamp": time})  # fmt: skip
    for name, rows, schema in (("events", events, EVENTS), ("items", items, ITEMS)):
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part-0.parquet")
    build(folder / "events", folder / "items", folder / "features", FeatureOptions().replace(horizon_days=7))
    return folder / "features"


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """With vectors or without -> (feature folder, model folder)."""
    found = {}
    for content in (True, False):
        folder = tmp_path_factory.mktemp("content")
        found[content] = write_shop(folder, content), folder / "model"
        train(*found[content], CONFIG)
    return found


@pytest.fixture(params=[True, False], ids=["with", "without"])
def shop(request, shops):
    """(whether the shop has vectors, feature folder, model folder)."""
    return request.param, *shops[request.param]


def load_data_and_model(features, model):
    spec = FeatureSpec.read(features / "spec.json")
    return spec, Catalog.read(features / "items.parquet", spec), load_retriever(model)


def shares_of_new_items(features, model) -> tuple[float, float]:
    """Mean share of a shopper's top 10 new items that match their tastes, and of their overall top 40 that are new."""
    spec, catalog, retriever = load_data_and_model(features, model)
    vectors, biases = item_vectors(retriever, catalog)
    rows = Rows.read(features / "rows" / "validation.parquet", spec)
    with torch.inference_mode():
        users = retriever.user_vectors(keyed_jagged(rows.features, spec.user_features)).numpy()
    scores = users @ vectors.T + biases
    names = np.array(catalog.item_id.to_pylist())
    tastes = np.array([0, *(taste_of(name) for name in names[1:])])
    known = {f"u{shopper}": {shopper % TASTES, (shopper + 1) % TASTES} for shopper in range(SHOPPERS)}
    ids = dict(pq.read_table(features / "users.parquet").select(["row", "user_id"]).to_pandas().itertuples(index=False))
    new = np.flatnonzero([name.startswith("new-") for name in names])
    hits, reached = [], []
    for shopper, score in zip(rows.shopper, scores, strict=True):
        liked = known[ids[shopper]]
        best = new[np.argsort(-score[new], kind="stable")[:10]]
        hits.append(np.mean([tastes[item] in liked for item in best]))
        top = np.argsort(-score[1:], kind="stable")[:40] + 1
        reached.append(np.isin(top, new).mean())
    return float(np.mean(hits)), float(np.mean(reached))


@pytest.mark.slow
def test_new_items_are_recommended_only_with_content_vectors(shop):
    content, features, model = shop
    share, reached = shares_of_new_items(features, model)
    # A third of the new items match each shopper's tastes; without vectors their order is random.
    assert (share > 0.75 and reached > 0.02) if content else (share < 0.45 and reached < 0.005), (share, reached)


@pytest.mark.slow
def test_content_weights_exist_only_with_content_vectors(shop):
    content, features, model = shop
    spec, catalog, retriever = load_data_and_model(features, model)
    assert spec.content_dim == retriever.config.content_dim == (DIM if content else 0)
    assert RetrieverConfig.read(model / "config.json") == retriever.config
    assert [name for name in load_file(model / "weights.safetensors") if name.startswith("content.")] == (
        ["content.bias", "content.weight"] if content else []
    )
    assert (catalog.content is not None) == content
    assert Catalog.read(features / "items.parquet", spec, content=False).content is None


@pytest.mark.slow
def test_exported_item_tower_matches_the_trained_vectors(shop, tmp_path):
    content, features, model = shop
    spec, catalog, retriever = load_data_and_model(features, model)
    vectors, biases = item_vectors(retriever, catalog)
    export_item_tower(load_retriever(model), tmp_path / "item.onnx", TableFormat(storage="fp32"))
    inputs = [one.name for one in onnxruntime.InferenceSession(tmp_path / "item.onnx").get_inputs()]
    assert inputs == ["ids", "weights", *(["content"] if content else [])]
    rows = np.arange(1, len(catalog))
    for wanted in (rows, rows[:1], rows[:0]):
        found = item_tower(tmp_path / "item.onnx", catalog, spec, wanted)
        np.testing.assert_allclose(found[0], vectors[wanted], atol=1e-5)
        np.testing.assert_allclose(found[1], biases[wanted], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [None, GruConfig(hidden_dim=8, dropout=0.0)], ids=["summed", "gru"])
def test_training_with_two_processes_matches_one_process(encoder, shops, tmp_path):
    features, curves = shops[True][0], []
    for processes in (1, 2):
        launch = LaunchConfig(processes=processes, threads=1)
        out = tmp_path / f"model-{processes}"
        train(features, out, CONFIG.replace(epochs=1, encoder=encoder, launch=launch))
        curves.append([point["loss"] for point in read_json(out / "curve.json")])
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
    one, two = (load_file(tmp_path / f"model-{processes}" / "weights.safetensors") for processes in (1, 2))
    np.testing.assert_allclose(two["content.weight"], one["content.weight"], atol=0.01)


@pytest.fixture(scope="module")
def bundle(shops, tmp_path_factory):
    """A registered bundle of the shop with vectors."""
    folder, (features, retriever) = tmp_path_factory.mktemp("bundle"), shops[True]
    ranking = RankerTraining.from_size(size_named("tiny"), 7).replace(epochs=1)
    train_ranker(features, retriever, folder / "ranker", ranking)
    (folder / "statistics").mkdir()
    # The reference for drift, which these tests do not measure.
    (folder / "statistics" / "statistics.json").write_text("{}")
    models = (features, retriever, folder / "ranker", folder / "statistics")
    compile_model(*models, folder / "compiled", LOOSE)
    config = RegisterConfig(registry=folder / "registry", name="shop", signing_key=folder / "key.pem")
    create_key(config.signing_key)
    register(folder / "compiled", None, folder / "bundle", config)
    return folder / "bundle"


def write_items(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, ITEMS), path)
    return path


@pytest.mark.slow
def test_item_added_to_a_bundle_is_placed_by_its_content_vector(bundle, tmp_path):
    """Two added items that differ only in their vectors land beside the items with these vectors, without training."""
    spec = FeatureSpec.read(bundle / "spec.json")
    content = Catalog.read(bundle / "items.parquet", spec).content.unit
    names = Catalog.read(bundle / "items.parquet", spec).item_id.to_pylist()
    new = [row for row, name in enumerate(names) if name.startswith("new-") and content[row].any()]
    chosen = [next(row for row in new if taste_of(names[row]) == taste) for taste in (0, 1)]
    rows = [{"item_id": f"added-{taste}", "title": "thing", "content_vector": (3.0 * content[row]).tolist()}
            for taste, row in enumerate(chosen)]  # fmt: skip
    assert refresh(bundle, write_items(tmp_path / "items.parquet", rows), tmp_path / "out").added == 2
    index = Recommender.open(tmp_path / "out").index
    added = index.vectors(np.arange(len(names), len(names) + 2))
    # Equal up to the title, whose only word all items share.
    np.testing.assert_allclose(added, index.vectors(np.array(chosen)), atol=1e-4)
    assert np.abs(added[0] - added[1]).max() > 0.05
    again = refresh(bundle, write_items(tmp_path / "same.parquet", [{"item_id": names[1]}]), tmp_path / "again")
    assert (again.added, again.changed) == (0, 0)


@pytest.mark.slow
def test_a_vector_that_does_not_fit_the_bundle_is_refused(bundle, tmp_path):
    vector = [1.0] * (DIM + 1)
    items = write_items(tmp_path / "items.parquet", [{"item_id": "odd", "content_vector": vector}])
    with pytest.raises(InputError, match=f"item 'odd' has {DIM + 1} numbers, the model expects {DIM}"):
        refresh(bundle, items, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_vector_that_is_not_finite_is_unknown_and_told(bundle, tmp_path, capsys):
    items = write_items(tmp_path / "items.parquet", [{"item_id": "odd", "content_vector": [float("nan")] * DIM}])
    assert refresh(bundle, items, tmp_path / "out").added == 1
    assert "told refresh_catalog items: content_vector cannot be read in 1 row (" in capsys.readouterr().out
