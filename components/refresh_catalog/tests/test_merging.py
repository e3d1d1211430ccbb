"""Merging: items are encoded as build_features would, and memory is that of what changes, not of the catalog."""

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
TOLD = ("item_id", "title", "categories", "brand", "price", "available")
READ = ("category_ids", "brand_ids", "price_bucket_ids", "title_ids")
SHOP = [
    {"item_id": "milk-1", "title": "Oat Milk", "brand": "Farm", "categories": ["food", "drinks"], "price": 1.5},
    {"item_id": "milk-2", "brand": "Farm", "categories": ["food", "drinks"], "price": 2.5},
    {"item_id": "milk-3", "title": "Whole Milk", "categories": ["food"], "price": 2.0, "available": False},
    {"item_id": "bread-1", "title": "Oat Bread", "brand": "Mill", "price": 3.5},
    {"item_id": "bread-2", "title": "Bread", "brand": "Mill", "categories": [], "price": 0.5},
    {"item_id": "oat", "title": "oat", "price": 1.0},
]
"""milk-2 has no title; oat is called as its id is."""


def built(folder, price_buckets=16):
    """(items.parquet, vocabularies) of the shop, whose items are all bought now and then."""
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


def given(*rows):
    return pa.Table.from_pylist(rows, ITEMS).select([*TOLD, CONTENT_COLUMN])


def by_id(table):
    return {row["item_id"]: row for row in table.to_pylist()}


def test_naming_every_item_as_it_was_built_changes_nothing(shop):
    """An item without a title is stored under its id, whose words the model never read."""
    table, features = shop
    assert by_id(table)["milk-2"]["title"] == "milk-2" and by_id(table)["milk-2"]["title_ids"] == []
    assert by_id(table)["oat"]["title_ids"] and by_id(table)["milk-1"]["title_ids"]
    stored = table.slice(1).select(TOLD)
    for items in (given(*SHOP), given(*({"item_id": item["item_id"]} for item in SHOP)), stored):
        found = merge_items(table, items, vocabularies(features))
        assert (found.counts.added, found.counts.changed, found.counts.same) == (0, 0, len(SHOP))
        assert found.read.tolist() == [] and found.table.equals(table)


@pytest.mark.parametrize("buckets", [16, 1], ids=["with price edges", "without"])
def test_a_new_item_is_encoded_as_build_features_encodes_it(tmp_path, buckets):
    table, names = built(tmp_path, buckets)
    assert bool(names.spec.price_edges) == (buckets > 1)
    wanted = by_id(table)
    new = [{**item, "item_id": f"new-{item['item_id']}"} for item in SHOP if item["item_id"] != "milk-2"]
    found = by_id(merge_items(table, given(*new, {**SHOP[1], "item_id": "milk"}), names).table)
    for item in new:
        ours, theirs = found[item["item_id"]], wanted[item["item_id"].removeprefix("new-")]
        assert [ours[name] for name in READ] == [theirs[name] for name in READ], item
    # Its id is a known word, and no title.
    assert names.token["milk"] and found["milk"]["title"] == "milk"
    assert [found["milk"][name] for name in READ] == [wanted["milk-2"][name] for name in READ]


def test_a_title_that_is_told_is_read_and_an_id_told_as_one_is_not(shop):
    table, features = shop
    names = vocabularies(features)
    told = [{"item_id": "milk-2", "title": "Oat Milk"}, {"item_id": "milk-1", "title": "milk-1"}]
    found = merge_items(table, given(*told), names)
    items = by_id(found.table)
    assert items["milk-2"]["title_ids"] == [names.token["oat"], names.token["milk"]]
    assert (items["milk-1"]["title"], items["milk-1"]["title_ids"]) == ("milk-1", [])
    assert found.read.tolist() == sorted(items[name]["row"] for name in ("milk-1", "milk-2"))


def with_content(table, vectors):
    """items.parquet with a content vector, or None, a row; the unknown item has none."""
    field = pa.field(CONTENT_COLUMN, pa.list_(pa.float32()))
    return table.append_column(field, pa.array([None, *vectors], field.type))


def test_only_what_is_read_differently_gets_its_vector_anew(shop):
    table, features = shop
    table = with_content(table, [[1.0, 2.0], None, [], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    ids = table["item_id"].to_pylist()
    told = [
        {"item_id": ids[1], "content_vector": [1.0, 2.0]},
        {"item_id": ids[2], "content_vector": [1.0, 1.0]},
        {"item_id": ids[4], "content_vector": [9.0, 9.0]}, {"item_id": ids[4], "content_vector": [3.0, 4.0]},
        {"item_id": ids[5], "available": False}, {"item_id": "new"}, {"item_id": "new", "content_vector": [2.0, 2.0]},
        {"item_id": ids[6], "content_vector": []},
    ]  # fmt: skip
    found = merge_items(table, given(*told), vocabularies(features, content_dim=2))
    assert found.read.tolist() == [2, 6, 7], "item 4 went there and back, 5 only off sale"
    assert (found.counts.added, found.counts.changed, found.counts.same) == (1, 4, 2)
    assert found.table[CONTENT_COLUMN].to_pylist() == [
        None, [1.0, 2.0], [1.0, 1.0], [], [3.0, 4.0], [5.0, 6.0], [], [2.0, 2.0],
    ]  # fmt: skip
    assert found.table["row"].to_pylist() == list(range(8)) and found.table.schema == table.schema
    untouched = [row for row in range(7) if row not in (2, 4, 5, 6)]
    assert found.table.take(untouched).equals(table.take(untouched))
    plain = merge_items(table, given(*told), vocabularies(features))
    assert plain.read.tolist() == [7], "a model without content reads none"
    for vector in ([1.0], [1.0, None], [1.0, float("inf")]):
        with pytest.raises(InputError, match="item 'odd' h"):
            merge_items(table, given({"item_id": "odd", "content_vector": vector}),
                        vocabularies(features, content_dim=2))  # fmt: skip


def test_a_catalog_with_content_is_merged_without_becoming_python_objects(shop):
    """3.2 million numbers, which as Python lists would be 109 MB each time; every item is named, a few change."""
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
    told = pa.table({"item_id": large["item_id"], "price": moved, CONTENT_COLUMN: vectors})
    tracemalloc.start()
    try:
        found = merge_items(pa.concat_tables([unknown, large]), told, vocabularies(features, content_dim=dim))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.counts.changed == 20 >= len(found.read) > 0
    assert peak < 40e6, f"{peak / 1e6:.0f} MB"
