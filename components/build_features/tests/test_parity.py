"""The same shopper at the same time gives the same tensors in a training row and in a live request, bit for bit."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.build_features.build import featurise
from components.shared.features.query import query_features
from components.shared.features.ragged import Ragged
from components.shared.features.rows import Rows
from components.shared.features.shopper import shopper_features
from components.shared.recommender.recommender import Recommender
from components.shared.schema.tables import EVENT_TYPES
from serving.protocol import parse_instance
from serving.shoppers import Shoppers
from serving.tests.handmade import AS_OF, USERS, write_compiled


@pytest.fixture(params=["made up", "complete-journey"])
def folder(request, built, tiny_run):
    """The synthetic shop with searches, and sixty real shoppers."""
    return built if request.param == "made up" else type(built)(tiny_run.features, built.summary)


def online(found, user: str | None, now: int, query: Ragged, history: list[dict] | None = None) -> dict[str, Ragged]:
    """Features of one request, as the predictor computes them."""
    user_row = {name: row for row, name in enumerate(found.users) if row}
    shoppers = Shoppers(found.spec, found.catalog, found.store, user_row, clock="bundle")
    ask = parse_instance(
        {"user_id": user, "context": {"timestamp": now}} | ({} if history is None else {"history": history})
    )
    warnings: list[str] = []
    histories = shoppers.histories(ask, warnings)
    assert not warnings and len(histories) == 1
    return shopper_features(histories, found.catalog, found.spec, query)


def assert_same(offline: Ragged, live: Ragged, where: str) -> None:
    np.testing.assert_array_equal(offline.values, live.values, err_msg=where)
    assert offline.weights.tobytes() == live.weights.tobytes(), where


def inline_history(found, shopper: int, now: int) -> list[dict]:
    """A stored history in the format of a request, prices included."""
    events = found.store.before(np.array([shopper]), np.array([now]), found.spec.max_history)
    return [
        {"item_id": found.catalog.item_id[int(item)].as_py(), "event_type": EVENT_TYPES[kind], "timestamp": int(when)}
        | ({} if np.isnan(price) else {"price": float(price)})
        for item, kind, when, price in zip(events.item, events.event_type, events.timestamp, events.price, strict=True)
    ]


@pytest.mark.parametrize("split", ["test", "validation"])
def test_stored_and_inline_histories_reproduce_the_training_rows(folder, split):
    rows = Rows.read(folder.folder / "rows" / f"{split}.parquet", folder.spec)
    assert len(rows) > 8
    for at in range(len(rows)):
        one = np.array([at])
        shopper, now = int(rows.shopper[at]), int(rows.timestamp[at])
        query = rows.features["query"].take(one)
        stored = online(folder, folder.users[shopper], now, query)
        inlined = online(folder, folder.users[shopper], now, query, inline_history(folder, shopper, now))
        for name in stored:
            assert_same(rows.features[name].take(one), stored[name], f"{split} row {at}, {name}, stored history")
            assert_same(stored[name], inlined[name], f"{split} row {at}, {name}, inline history")


def test_search_rows_have_the_same_features_as_a_live_query(built):
    rows = Rows.read(built.folder / "rows" / "retriever.parquet", built.spec)
    tokens = {value: row for row, value in enumerate(built.vocabulary("token")) if row}
    live = query_features(["牛奶"], tokens, built.spec.user("query").max_length)
    searches = [at for at in range(len(rows)) if rows.features["query"].lengths[at] == 3]
    assert searches
    for at in searches[:5]:
        now = int(rows.timestamp[at])
        found = online(built, built.users[int(rows.shopper[at])], now, live)
        for name in found:
            assert_same(rows.features[name].take(np.array([at])), found[name], f"row {at}, {name}")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Recommender:
    return Recommender.open(write_compiled(tmp_path_factory.mktemp("compiled") / "model"))


WORDS = st.sampled_from(["milk", "Oat", "MILKS", "燕麦奶", "blueberries", "7", "unheard-of", "🥛", "é", "\u3000"])
QUERIES = st.text(max_size=20) | st.lists(WORDS, max_size=30).map(" ".join)


@given(queries=st.lists(st.tuples(st.sampled_from(sorted(USERS.values())), QUERIES), min_size=1, max_size=6))
def test_a_training_row_and_a_request_give_the_same_ids(compiled, queries):
    """The whole user side of both paths: `featurise`, which writes training rows, and `Recommender.candidates`."""
    shopper, texts = np.array([user for user, _ in queries]), [text for _, text in queries]
    now = np.full(len(queries), AS_OF)
    batch = pa.record_batch({"user": shopper, "timestamp": now, "query": pa.array(texts, pa.string()),
                             "targets": [[1]] * len(queries)})  # fmt: skip
    trained = featurise(iter([batch]), compiled.store, compiled.catalog, compiled.spec, compiled.tokens)
    rows = Rows.from_table(pa.Table.from_batches(trained).combine_chunks(), compiled.spec)
    histories = compiled.store.before(shopper, now, compiled.spec.max_history)
    live = compiled.candidates(histories, [compiled.understood(text or "", verbatim=True) for text in texts]).features
    for name, found in rows.features.items():
        np.testing.assert_array_equal(found.offsets, live[name].offsets, err_msg=name)
        assert_same(found, live[name], name)


def test_padding_for_the_exported_graph_loses_nothing(folder):
    rows = Rows.read(folder.folder / "rows" / "test.parquet", folder.spec)
    for feature in folder.spec.user_features:
        ragged = rows.features[feature.name]
        assert ragged.lengths.max() <= feature.max_length
        assert ragged.values.max(initial=0) < feature.rows
        ids, weights = ragged.padded(feature.max_length)
        np.testing.assert_allclose(weights.sum(1), np.add.reduceat(np.r_[ragged.weights, 0], ragged.offsets[:-1])
                                   * (ragged.lengths > 0), rtol=1e-5)  # fmt: skip
        assert ids.shape == (len(rows), feature.max_length)
    for feature in folder.spec.item_features:
        ragged = folder.catalog.features[feature.name]
        assert ragged.lengths.max() <= feature.max_length and ragged.values.max(initial=0) < feature.rows
