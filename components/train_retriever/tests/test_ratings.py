"""Explicit ratings end to end: purchases are random, so that only ratings show preferences, which MSE learns."""

import datetime
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.features.ragged import Ragged
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.batch import keyed_jagged
from components.shared.recommender.offline import item_vectors, load_retriever
from components.shared.schema.tables import EVENTS, ITEMS
from components.shared.schema.timeline import Timeline
from components.shared.storage import read_json
from components.shared.training.group import Group
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.batches import Batch, draw_batch
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.losses.config import Hard, Mse
from components.train_retriever.losses.hard_index import Hardest
from components.train_retriever.losses.objectives import LocalBatch, objective
from components.train_retriever.sources import HeldRows, StreamedRows, row_source
from components.train_retriever.train import train
from components.tune_hyperparameters.models import tunable

TASTES, THINGS, SHOPPERS, DAYS = 4, 80, 80, 80
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=128, id_dropout=0.0, title_queries=0.3, seed=7), embedding_dim=16,
    hidden_dim=32, epochs=12, patience=12, loss=Mse(),
    optimizer=OptimizerConfig(embedding_lr=0.3, seed=7), launch=LaunchConfig(processes=1, threads=1),
)  # fmt: skip


def rating_of(shopper: int, thing: int) -> float:
    """Each shopper rates one taste 5, another 4 and the rest 1."""
    return {0: 5.0, 1: 4.0}.get((thing - shopper) % TASTES, 1.0)


@pytest.fixture(scope="module")
def rated(tmp_path_factory) -> Path:
    """Features of a shop whose shoppers buy at random and rate what they bought."""
    folder, random = tmp_path_factory.mktemp("rated"), np.random.default_rng(3)
    items = [
        {"item_id": f"i{thing}", "title": f"thing {'abcdefgh'[thing % 8] * 3}", "categories": [f"c{thing % TASTES}"]}
        for thing in range(THINGS)
    ]  # fmt: skip
    events = [
        {"user_id": f"u{shopper}", "item_id": f"i{thing}", "event_type": "purchase", "rating":
         rating_of(shopper, thing), "timestamp": START + datetime.timedelta(days=day, seconds=shopper)}
        for shopper in range(SHOPPERS)
        for day in range(shopper % 3, DAYS, 3)
        for thing in random.choice(THINGS, 3, replace=False).tolist()
    ]  # fmt: skip
    for name, rows, schema in (("events", events, EVENTS), ("items", items, ITEMS)):
        (folder / name).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part-0.parquet")
    config = FeatureOptions().replace(horizon_days=7)
    build(folder / "events", folder / "items", folder / "features", config)
    return folder / "features"


MSE = {"loss": {"kind": "mse"}}


@pytest.mark.slow
def test_tuning_with_mse_uses_rating_r2_as_its_metric(rated, tmp_path):
    with tunable("retriever", rated, None, "tiny", sections={"retriever": MSE}) as found:
        reported: list[float] = []
        assert found.metric == "validation_rating_r2"
        value = found.train(found.defaults, tmp_path / "model", lambda _, metric: reported.append(metric))
        assert value == max(reported) and read_json(tmp_path / "model" / "curve.json")[0][found.metric] == reported[0]
    with (
        pytest.raises(InputError, match=r"ranker\.loss is not an option"),
        tunable("ranker", rated, tmp_path / "model", "tiny", sections={"ranker": MSE}),
    ):
        pass


def load_data(features: Path) -> tuple[Rows, Catalog, FeatureSpec]:
    spec = FeatureSpec.read(features / "spec.json")
    rows = Rows.read(features / "rows" / "ratings.parquet", spec)
    return rows, Catalog.read(features / "items.parquet", spec), spec


def predictions(trained: Path, features: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predicted scores [shoppers, things] and the matching true ratings."""
    _, catalog, spec = load_data(features)
    model, rows = load_retriever(trained), Rows.read(features / "rows" / "test.parquet", spec)
    users = pq.read_table(features / "users.parquet")["user_id"].to_pylist()
    names = pq.read_table(features / "items.parquet")["item_id"].to_pylist()
    vectors, biases = item_vectors(model, catalog)
    with torch.no_grad():
        user = model.user_vectors(keyed_jagged(rows.features, spec.user_features), torch.from_numpy(vectors)).numpy()
    shoppers = [int(users[shopper - 1][1:]) for shopper in rows.shopper.tolist()]
    things = [row for row, name in enumerate(names) if name]
    truth = [[rating_of(shopper, int(names[row][1:])) for row in things] for shopper in shoppers]
    return (user @ vectors.T + biases)[:, things], np.array(truth)


def test_mse_learns_ratings_that_purchases_do_not_reveal(rated, tmp_path):
    """Compares all pairs of shopper and thing, most of them never rated; predicting the mean has an error of 1.79."""
    found = train(rated, tmp_path / "mse", CONFIG)
    assert found["validation_rating_r2"] > 0.8
    scores, truth = predictions(tmp_path / "mse", rated)
    mean = HeldRows(load_data(rated)[0], CONFIG.sampling, slice(None)).mean_rating()
    assert mean == pytest.approx((5 + 4 + 1 + 1) / 4, abs=0.1)
    error = np.sqrt(np.square(scores + mean - truth).mean())
    assert error < 0.5 * np.std(truth), f"{error:.3f} of {np.std(truth):.3f}"
    best = np.take_along_axis(truth, np.argsort(-scores, 1)[:, :10], 1)
    assert best.mean() > 4.3, "the ten best are things that the shopper likes"
    unrated = CONFIG.replace(loss=None)
    train(rated, tmp_path / "clicks", unrated)
    other = np.take_along_axis(truth, np.argsort(-predictions(tmp_path / "clicks", rated)[0], 1)[:, :10], 1)
    assert other.mean() < 3.5, "purchases alone do not tell"


def test_training_with_two_processes_matches_one_process(rated, tmp_path):
    short = CONFIG.replace(epochs=1)
    train(rated, tmp_path / "one", short)
    train(rated, tmp_path / "two", short.replace(launch=LaunchConfig(processes=2, threads=1)))
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], weights, atol=2e-5, err_msg=name)


def test_drawn_targets_carry_the_rating_of_their_shopper(rated):
    rows, catalog, _ = load_data(rated)
    users = pq.read_table(rated / "users.parquet")["user_id"].to_pylist()
    names = pq.read_table(rated / "items.parquet")["item_id"].to_pylist()
    source = HeldRows(rows, CONFIG.sampling, slice(None))
    for step in range(3):
        drawn = source.rows(0, step)
        batch = draw_batch(drawn, catalog, CONFIG.sampling, (0, step), slice(None))
        shopper = np.repeat(drawn.shopper, CONFIG.sampling.targets)
        expected = [rating_of(int(users[who - 1][1:]), int(names[item][1:]))
                    for who, item in zip(shopper.tolist(), batch.item.tolist(), strict=True)]  # fmt: skip
        assert batch.rating is not None and batch.rating.tolist() == expected


def test_streamed_rows_carry_the_same_ratings(rated, tmp_path):
    rows, _, spec = load_data(rated)
    pq.write_table(pq.read_table(rated / "rows" / "ratings.parquet"), tmp_path / "rows.parquet", row_group_size=64)
    config = CONFIG.sampling.replace(held_rows=100)
    streamed = row_source(tmp_path / "rows.parquet", spec, config, slice(0, 128))
    assert isinstance(streamed, StreamedRows)
    assert streamed.mean_rating() == pytest.approx(HeldRows(rows, config, slice(None)).mean_rating())
    expected = {(who, when): pair for who, when, pair in zip(
        rows.shopper.tolist(), rows.timestamp.tolist(), pairs_of(rows), strict=True)}  # fmt: skip
    sample = streamed.rows(1, 0)
    for who, when, pair in zip(sample.shopper.tolist(), sample.timestamp.tolist(), pairs_of(sample), strict=True):
        assert pair == expected[who, when]


def pairs_of(rows: Rows) -> list[list[tuple[int, float]]]:
    """Items and ratings of each row."""
    assert rows.rated
    items, ratings, ends = rows.rated.values.tolist(), rows.rated.weights.tolist(), rows.rated.offsets
    np.testing.assert_array_equal(rows.rated.values, rows.targets.values)
    return [list(zip(items[a:b], ratings[a:b], strict=True)) for a, b in itertools.pairwise(ends.tolist())]


def no_hardest(source: Hard) -> Hardest:
    raise AssertionError("MSE asks for no negatives")


def test_the_loss_is_the_mean_squared_error_over_the_drawn_targets(rated):
    rows, catalog, _ = load_data(rated)
    some = rows.take(np.arange(2))
    source = HeldRows(some, SamplingConfig(batch_size=2, targets=2), slice(None))
    item, rating = np.array([5, 9, 5, 7]), np.array([5.0, 1.0, 4.0, 1.0], np.float32)
    mse = objective(Mse(), source, len(catalog), SamplingConfig(batch_size=2, targets=2),
                    Group(0, 1, torch.device("cpu")))  # fmt: skip
    found = mse.draw(
        LocalBatch(Batch({}, {}, item, rating), Ragged.mean(np.array([0, 2, 4]), item), (0, 0), no_hardest)
    )
    assert not len(found.rows)
    random = torch.Generator().manual_seed(0)
    user, vectors, biases = (torch.randn(*shape, generator=random) for shape in ((2, 3), (4, 3), (4,)))
    errors = [
        (user[token // 2] @ vectors[token] + biases[token]).item() + source.mean_rating() - rating[token]
        for token in range(4)
    ]
    assert found.loss(user, vectors, biases, *found.tensors).item() == pytest.approx(np.square(errors).mean(), rel=1e-5)


def test_mse_on_features_without_ratings_is_refused(tiny_run, tmp_path):
    with pytest.raises(InputError, match=r"retriever.loss is mse, .* no rows/ratings.parquet .*\n.*'rating'"):
        train(tiny_run.features, tmp_path / "model", CONFIG)
    assert not any(tmp_path.iterdir())


def test_rating_rows_end_before_the_retriever_cutoff(rated):
    rows, _, _ = load_data(rated)
    assert (rows.timestamp < Timeline.read(rated / "timeline.json").retriever_end).all()
