"""Merging: items are encoded as in build_features, and memory grows with the changes, not with the catalog."""

import dataclasses
import datetime
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.build_features.build import build
from components.build_features.config import FeatureOptions, VocabularyConfig
from components.refresh_catalog.encoding import Vocabularies
from components.refresh_catalog.merging import merge_items
from components.shared.errors import InputError
from components.shared.features.content import CONTENT_COLUMN
from components.shared.features.spec import FeatureSpec
from components.shared.schema.tables import EVENTS, ITEMS

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
GIVEN_COLUMNS = ("item_id", "title", "categories", "brand", "price", "available")
ENCODED_COLUMNS = ("category_ids", "brand_ids", "price_bucket_ids", "title_ids")
SHOP = [
    {"item_id": "milk-1", "title": "Oat Milk", "brand": "Farm", "categories": ["food", "drinks"], "price": 1.5},
    {"item_id": "milk-2", "brand": "Farm", "categories": ["food", "drinks"], "price": 2.5},
    {"item_id": "milk-3", "title": "Whole Milk", "categories": ["food"], "price": 2.0, "available": False},
    {"item_id": "bread-1", "title": "Oat Bread", "brand": "Mill", "price": 3.5},
    {"item_id": "bread-2", "title": "Bread", "brand": "Mill", "categories": [], "price": 0.5},
    {"item_id": "oat", "title": "oat", "price": 1.0},
]
"""milk-2 has no title; the title of oat equals its id."""


def built(folder, price_buckets=16):
    """(items.parquet, vocabularies) of the shop; every item is bought sometimes."""
    events = [
        {"user_id": f"u{day % 7}", "item_id": item["item_id"], "event_type": "purchase",
         "timestamp": START + datetime.timedelta(days=day, seconds=second)}
        for day in range(60) for second, item in enumerate(SHOP[day % 3 :: 2])
    ]  # fmt: skip
    for name, rows, schema in (("events", events, EVENTS), ("items", SHOP, ITEMS)):
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part.parquet")
    config = FeatureOptions(horizon_days=5.0, vocabulary=VocabularyConfig(price_buckets=price_buckets))
    features = folder / "features"
    build(folder / "events", folder / "items", features, config)
    return pq.read_table(features / "items.parquet"), vocabularies(features)


def vocabularies(features, **changes):
    spec = FeatureSpec.read(features / "spec.json")
    return Vocabularies.read(features, dataclasses.replace(spec, **changes))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """(items.parquet, folder of the features)."""
    folder = tmp_path_factory.mktemp("shop")
    return built(folder)[0], folder / "features"


def items_table(*rows):
    return pa.Table.from_pylist(rows, ITEMS).select([*GIVEN_COLUMNS, CONTENT_COLUMN])


def by_id(table):
    return {row["item_id"]: row for row in table.to_pylist()}


def test_merging_the_same_items_changes_nothing(shop):
    """An item without a title gets its id as the title, which is not tokenized."""
    table, features = shop
    assert by_id(table)["milk-2"]["title"] == "milk-2" and by_id(table)["milk-2"]["title_ids"] == []
    assert by_id(table)["oat"]["title_ids"] and by_id(table)["milk-1"]["title_ids"]
    stored = table.slice(1).select(GIVEN_COLUMNS)
    for items in (items_table(*SHOP), items_table(*({"item_id": item["item_id"]} for item in SHOP)), stored):
        found = merge_items(table, items, vocabularies(features))
        assert (found.counts.added, found.counts.changed, found.counts.same) == (0, 0, len(SHOP))
        assert found.read.tolist() == [] and found.table.equals(table)


@pytest.mark.parametrize("buckets", [16, 1], ids=["with price edges", "without"])
def test_a_new_item_is_encoded_as_build_features_encodes_it(tmp_path, buckets):
    table, names = built(tmp_path, buckets)
    assert bool(names.spec.price_edges) == (buckets > 1)
    wanted = by_id(table)
    new = [{**item, "item_id": f"new-{item['item_id']}"} for item in SHOP if item["item_id"] != "milk-2"]
    found = by_id(merge_items(table, items_table(*new, {**SHOP[1], "item_id": "milk"}), names).table)
    for item in new:
        ours, theirs = found[item["item_id"]], wanted[item["item_id"].removeprefix("new-")]
        assert [ours[name] for name in ENCODED_COLUMNS] == [theirs[name] for name in ENCODED_COLUMNS], item
    # The id 'milk' is a known token, but an id is not read as a title.
    assert names.token["milk"] and found["milk"]["title"] == "milk"
    assert [found["milk"][name] for name in ENCODED_COLUMNS] == [wanted["milk-2"][name] for name in ENCODED_COLUMNS]


def test_given_title_is_tokenized_and_an_item_id_as_title_is_not(shop):
    table, features = shop
    names = vocabularies(features)
    changes = [{"item_id": "milk-2", "title": "Oat Milk"}, {"item_id": "milk-1", "title": "milk-1"}]
    found = merge_items(table, items_table(*changes), names)
    items = by_id(found.table)
    assert items["milk-2"]["title_ids"] == [names.token["oat"], names.token["milk"]]
    assert (items["milk-1"]["title"], items["milk-1"]["title_ids"]) == ("milk-1", [])
    assert found.read.tolist() == sorted(items[name]["row"] for name in ("milk-1", "milk-2"))


def with_content(table, vectors):
    """items.parquet with a content vector or None per row; the unknown item has None."""
    field = pa.field(CONTENT_COLUMN, pa.list_(pa.float32()))
    return table.append_column(field, pa.array([None, *vectors], field.type))


def test_only_items_with_changed_inputs_are_encoded_again(shop):
    table, features = shop
    table = with_content(table, [[1.0, 2.0], None, [], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    ids = table["item_id"].to_pylist()
    changes = [
        {"item_id": ids[1], "content_vector": [1.0, 2.0]},
        {"item_id": ids[2], "content_vector": [1.0, 1.0]},
        {"item_id": ids[4], "content_vector": [9.0, 9.0]}, {"item_id": ids[4], "content_vector": [3.0, 4.0]},
        {"item_id": ids[5], "available": False}, {"item_id": "new"}, {"item_id": "new", "content_vector": [2.0, 2.0]},
        {"item_id": ids[6], "content_vector": []},
    ]  # fmt: skip
    found = merge_items(table, items_table(*changes), vocabularies(features, content_dim=2))
    assert found.read.tolist() == [2, 6, 7], "item 4 went there and back, 5 only off sale"
    assert (found.counts.added, found.counts.changed, found.counts.same) == (1, 4, 2)
    assert found.table[CONTENT_COLUMN].to_pylist() == [
        None, [1.0, 2.0], [1.0, 1.0], [], [3.0, 4.0], [5.0, 6.0], [], [2.0, 2.0],
    ]  # fmt: skip
    assert found.table["row"].to_pylist() == list(range(8)) and found.table.schema == table.schema
    untouched = [row for row in range(7) if row not in (2, 4, 5, 6)]
    assert found.table.take(untouched).equals(table.take(untouched))
    plain = merge_items(table, items_table(*changes), vocabularies(features))
    assert plain.read.tolist() == [7], "a model without content reads none"
    for vector in ([1.0], [1.0, None], [1.0, float("inf")]):
        with pytest.raises(InputError, match="item 'odd' h"):
            merge_items(table, items_table({"item_id": "odd", "content_vector": vector}),
                        vocabularies(features, content_dim=2))  # fmt: skip


def test_content_vectors_are_merged_without_python_objects(shop):
    """3.2 million numbers would take 109 MB as Python lists; every item is given, 20 change."""
    table, features = shop
    items, dim = 20_000, 160
    copies = table.slice(1).take(np.arange(items) % len(SHOP))
    columns = {name: copies[name] for name in copies.column_names}
    columns |= {"row": pa.array(np.arange(1, items + 1, dtype=np.int32)),
                "item_id": pa.array([f"item-{number}" for number in range(items)])}  # fmt: skip
    values = np.random.default_rng(0).standard_normal(items * dim).astype(np.float32)
    vectors = pa.ListArray.from_arrays(pa.array(np.arange(items + 1, dtype=np.int32) * dim), pa.array(values))
    field = pa.field(CONTENT_COLUMN, vectors.type)
    large = pa.table(columns, schema=table.schema).append_column(field, vectors)
    unknown = table.slice(0, 1).append_column(field, pa.nulls(1, vectors.type))
    moved = np.where(np.arange(items) % 1_000 == 7, np.float32(99.0), copies["price"].to_numpy()).astype(np.float32)
    changes = pa.table({"item_id": large["item_id"], "price": moved, CONTENT_COLUMN: vectors})
    tracemalloc.start()
    try:
        found = merge_items(pa.concat_tables([unknown, large]), changes, vocabularies(features, content_dim=dim))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.counts.changed == 20 >= len(found.read) > 0
    assert peak < 40e6, f"{peak / 1e6:.0f} MB"
