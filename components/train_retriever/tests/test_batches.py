"""Batches depend on (seed, epoch, step) alone, not on the rank that draws them."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.train_retriever.batches import draw_batch
from components.train_retriever.config import SamplingConfig
from components.train_retriever.sources import HeldRows, StreamedRows, row_source

CONFIG = SamplingConfig(batch_size=64, targets=3, seed=5)


@pytest.fixture(scope="module")
def data(tiny_run) -> tuple[Rows, Catalog]:
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    catalog = Catalog.read(tiny_run.features / "items.parquet", spec)
    return Rows.read(tiny_run.features / "rows" / "retriever.parquet", spec), catalog


def draw(data, config=CONFIG, at=(0, 1), part=slice(None)):
    rows, catalog = data
    return draw_batch(HeldRows(rows, config, part).rows(*at), catalog, config, at, part)


def test_parts_of_all_ranks_concatenate_to_the_whole_batch(data):
    whole = draw(data)
    parts = [draw(data, part=slice(start, start + 16)) for start in range(0, 64, 16)]
    np.testing.assert_array_equal(np.concatenate([part.item for part in parts]), whole.item)
    for side in ("features", "items"):
        for name, ragged in getattr(whole, side).items():
            pieces = [getattr(part, side)[name] for part in parts]
            np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), ragged.values, name)
            np.testing.assert_array_equal(np.concatenate([piece.weights for piece in pieces]), ragged.weights, name)


def test_batch_is_reproducible_and_depends_on_seed_epoch_and_step(data):
    one, again = draw(data), draw(data)
    np.testing.assert_array_equal(one.item, again.item)
    for other in (draw(data, at=(0, 2)), draw(data, at=(1, 1)), draw(data, CONFIG.replace(seed=6))):
        assert (one.item != other.item).any()


def test_an_epoch_visits_every_row_once(data):
    source = HeldRows(data[0], CONFIG, slice(None))
    order = source.order(3)
    assert sorted(order.tolist()) == list(range(len(data[0])))
    assert source.steps_per_epoch == len(data[0]) // 64
    assert (order != source.order(4)).any()


def test_a_split_smaller_than_a_batch_repeats_its_rows(data):
    rows, catalog = data
    few = dataclasses.replace(
        rows, shopper=rows.shopper[:5], timestamp=rows.timestamp[:5], targets=rows.targets.take(np.arange(5)),
        features={name: ragged.take(np.arange(5)) for name, ragged in rows.features.items()},
    )  # fmt: skip
    assert HeldRows(few, CONFIG, slice(None)).steps_per_epoch == 1
    batch = draw((few, catalog), at=(0, 0))
    assert len(batch.item) == 64 * 3 and len(batch.features["user"]) == 64


def test_targets_and_user_features_come_from_the_drawn_rows(data):
    rows, _ = data
    plain = CONFIG.replace(id_dropout=0.0, title_queries=0.0)
    batch, chosen = draw(data, plain), HeldRows(rows, plain, slice(None)).order(0)[64:128]
    for row, drawn in zip(chosen, batch.item.reshape(64, 3), strict=True):
        assert set(drawn.tolist()) <= set(rows.targets.take(np.array([row])).values.tolist())
    np.testing.assert_array_equal(batch.features["user"].values, rows.features["user"].take(chosen).values)
    assert not batch.features["query"].lengths.any()


def test_rows_beyond_held_rows_are_streamed_with_the_same_contents(data, tiny_run, tmp_path):
    path = tiny_run.features / "rows" / "retriever.parquet"
    table = pq.read_table(path)
    small = tmp_path / "rows.parquet"
    pq.write_table(table, small, row_group_size=64)
    spec, config = FeatureSpec.read(tiny_run.features / "spec.json"), CONFIG.replace(held_rows=100)
    assert isinstance(row_source(small, spec, CONFIG, slice(0, 64)), HeldRows)
    streamed = row_source(small, spec, config, slice(0, 64))
    assert isinstance(streamed, StreamedRows) and streamed.steps_per_epoch >= 0.7 * len(data[0]) // 64
    held = HeldRows(data[0], CONFIG, slice(0, 64))
    np.testing.assert_allclose(streamed.log_q(len(data[1])), held.log_q(len(data[1])), rtol=1e-5)
    index = {key: row for row, key in enumerate(zip(data[0].shopper.tolist(), data[0].timestamp.tolist(), strict=True))}
    rows = streamed.rows(0, 2)
    expected = data[0].take(
        np.array([index[key] for key in zip(rows.shopper.tolist(), rows.timestamp.tolist(), strict=True)])
    )
    assert len(rows) == 64
    for name, ragged in rows.features.items():
        if name != "query":
            np.testing.assert_array_equal(ragged.values, expected.features[name].values, name)
            np.testing.assert_array_equal(ragged.weights, expected.features[name].weights, name)
    batch = draw_batch(rows, data[1], CONFIG, (0, 2), slice(0, 64))
    assert len(batch.item) == 64 * 3 and (batch.item > 0).all()


def test_id_dropout_replaces_about_its_share_of_ids_by_row_zero(data):
    for share in (0.3, 1.0):
        batch = draw(data, CONFIG.replace(batch_size=1024, id_dropout=share))
        kept = draw(data, CONFIG.replace(batch_size=1024, id_dropout=0.0))
        for side, name in (("features", "user"), ("items", "item")):
            known = getattr(kept, side)[name].values > 0
            dropped = (getattr(batch, side)[name].values == 0)[known].mean()
            assert dropped == pytest.approx(share, abs=0.06), name


def test_title_queries_are_words_from_the_title_of_the_only_target(data):
    config = CONFIG.replace(title_queries=1.0)
    batch, catalog = draw(data, config), data[1]
    items = batch.item.reshape(64, 3)
    assert (items == items[:, :1]).all(), "who asks for one thing wants that thing"
    for row, item in enumerate(items[:, 0]):
        title = catalog.features["title"].take(np.array([item])).values.tolist()
        query = batch.features["query"].take(np.array([row]))
        if title:
            assert len(query.values) == 2 and set(query.values.tolist()) <= set(title)
            assert query.weights.tolist() == [0.5, 0.5]
        else:
            assert not len(query.values)
