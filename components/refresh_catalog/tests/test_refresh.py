"""An added item is retrieved at once, other items stay as they were, and the predictor serves the result."""

import dataclasses
import json

import faiss
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.refresh_catalog.refresh import refresh
from components.register_model.register import register
from components.shared.errors import BundleError, InputError, ShoprankError
from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.recommender import Recommender
from components.shared.release.golden import read_golden
from components.shared.release.signing import load_or_create_key, public_path
from components.shared.schema.tables import ITEMS
from components.validate_serving.predictor import PredictorConfig, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(registered):
    return Recommender.open(registered[0])


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, ITEMS), path)
    return path


@pytest.fixture(scope="module")
def twin(shop):
    """A new item like the one sold most, apart from its id and one more word in the title."""
    row = 1
    return {
        "item_id": "brand-new", "title": shop.catalog.title[row].as_py() + " zyxgold",
        "categories": shop.catalog.categories[row].as_py(), "brand": shop.catalog.brand[row].as_py(),
        "price": float(shop.catalog.list_price[row]), "available": True,
    }  # fmt: skip


@pytest.fixture(scope="module")
def refreshed(registered, twin, shop, tmp_path_factory):
    """(folder, result) of a new item, one no longer available, one with another price, and one without changes."""
    folder = tmp_path_factory.mktemp("refreshed")
    known = shop.catalog.item_id
    rows = [twin, {"item_id": known[2].as_py(), "available": False},
            {"item_id": known[3].as_py(), "price": 999.0}, {"item_id": known[4].as_py()}]  # fmt: skip
    result = refresh(registered[0], write(folder / "items.parquet", rows), folder / "compiled")
    return folder / "compiled", result


def test_bundle_signed_with_another_key_is_not_refreshed(registered, twin, tmp_path):
    bundle, config = registered
    items, ours = write(tmp_path / "items.parquet", [twin]), str(public_path(config.signing_key))
    assert refresh(bundle, items, tmp_path / "out", ours).added == 1
    load_or_create_key(tmp_path / "other.pem")
    with pytest.raises(BundleError, match="another key"):
        refresh(bundle, items, tmp_path / "none", str(public_path(tmp_path / "other.pem")))
    assert not (tmp_path / "none").exists()


def test_changes_are_counted_and_other_items_are_unchanged(refreshed, shop):
    folder, result = refreshed
    assert (result.added, result.changed, result.same) == (1, 2, len(shop.catalog) - 3)
    after = Recommender.open(folder).catalog
    assert after.item_id.to_pylist() == [*shop.catalog.item_id.to_pylist(), "brand-new"]
    assert not after.available[2] and after.list_price[3] == 999.0
    np.testing.assert_array_equal(after.list_price[4:-1], shop.catalog.list_price[4:])
    before = np.load(folder / "retriever" / "item_vectors.npy")
    rows = np.r_[1:3, 4 : len(shop.catalog)]
    np.testing.assert_array_equal(before[rows], shop.index.vectors(rows)[:, :-1])
    assert np.abs(before[3] - shop.index.vectors(np.array([3]))[0, :-1]).max() > 1e-4, "another price, another vector"


def test_new_item_is_encoded_as_in_build_features(tiny_run, refreshed):
    """The new item's category, brand and price are those of the item it copies, which build_features encoded."""
    after = Catalog.read(refreshed[0] / "items.parquet", FeatureSpec.read(tiny_run.features / "spec.json"))
    new = np.array([len(after) - 1])
    for name in ("category", "brand", "price_bucket"):
        np.testing.assert_array_equal(
            after.features[name].take(new).values, after.features[name].take(np.array([1])).values
        )
    title = after.features["title"].take(np.array([1])).values
    np.testing.assert_array_equal(
        after.features["title"].take(new).values, title, "its own word is unknown to the model"
    )


def test_new_item_is_close_to_its_category_and_is_retrieved(refreshed, shop):
    after = Recommender.open(refreshed[0])
    new = len(after.catalog) - 1
    vectors = after.index.vectors(np.arange(1, len(after.catalog)))[:, :-1]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity, category = unit[:-1] @ unit[-1], after.catalog.features["category"]
    leaf = category.values[np.maximum(category.offsets[1:] - 1, 0)][1:-1]
    same = leaf == category.take(np.array([new])).values[-1]
    assert same.sum() > 5 and similarity[same].mean() > similarity[~same].mean() + 0.2, "near the items of its kind"
    every = np.ones(len(after.catalog), bool)
    histories = after.store.before(np.array([1]), np.array([after.spec.as_of]), after.spec.max_history)
    ranked = [answer.item.tolist() for answer in after.rank(histories, len(every), ["zyxgold"])]
    assert ranked[0] == [new], "its own word finds it alone"


def test_refreshed_model_is_registered_and_served_with_the_new_item(refreshed, registered, tmp_path):
    _, config = registered
    first = register(refreshed[0], None, tmp_path / "bundle", config)
    assert register(refreshed[0], None, tmp_path / "again", config).version == first.version
    with running(tmp_path / "bundle", PredictorConfig()) as predictor:
        body = {"instances": [{"query": "zyxgold", "k": 3}, {"k": 5}]}
        response = httpx.post(
            f"{predictor.url}/v1/models/{predictor.name}:predict", json=body, trust_env=False, timeout=30
        )
    found, anonymous = response.json()["predictions"]
    assert [item["item_id"] for item in found["items"]] == ["brand-new"]
    assert found["model_version"] == first.version and len(anonymous["items"]) == 5


def test_refreshing_with_the_bundles_own_items_changes_nothing(registered, shop, tmp_path, monkeypatch):
    catalog, read, opened = shop.catalog, faiss.read_index, []
    monkeypatch.setattr(faiss, "read_index", lambda path: opened.append(path) or read(path))
    rows = [{"item_id": catalog.item_id[row].as_py(), "title": catalog.title[row].as_py(),
             "categories": catalog.categories[row].as_py(), "brand": catalog.brand[row].as_py() or None}
            for row in range(1, len(catalog))]  # fmt: skip
    result = refresh(registered[0], write(tmp_path / "items.parquet", rows), tmp_path / "out")
    assert (result.added, result.changed, result.unknown_categories, result.unknown_brands) == (0, 0, 0, 0)
    for name in ("golden.json", "retriever/item_vectors.npy", "statistics.npy"):
        assert (tmp_path / "out" / name).read_bytes() == (registered[0] / name).read_bytes(), name
    # Once to read the kind of index and once with the model, whatever the number of golden requests.
    assert len(opened) == 2 < len(read_golden(registered[0]))


def test_unknown_categories_and_brands_are_counted(registered, tmp_path):
    rows = [{"item_id": "x", "title": "x", "categories": ["NEW", "NEWER"], "brand": "Nobody"}, {"item_id": "y"}]
    result = refresh(registered[0], write(tmp_path / "items.parquet", rows), tmp_path / "out")
    assert dataclasses.astuple(result)[0::3] == (2, 2) and result.unknown_brands == 1


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_are_read_by_the_rules_of_the_ingestion(registered, shop, tmp_path, capsys, form):
    first, second = (shop.catalog.item_id[row].as_py() for row in (1, 2))
    rows = [
        {"item_id": f" {first}.0 ", "price": "$1,299.00", "available": ""}, {"item_id": first, "available": "sold out"},
        {"item_id": second, "price": "-5", "available": "perhaps"}, {"item_id": "", "price": "3", "available": ""},
    ]  # fmt: skip
    source = tmp_path / f"items.{form}"
    if form == "csv":
        lines = [",".join(f'"{row.get(name, "")}"' for name in rows[0]) for row in rows]
        source.write_text("\n".join(["item_id,price,available", *lines]))
    else:
        source.write_text("\n".join(map(json.dumps, rows)))
    result = refresh(registered[0], source, tmp_path / "out")
    assert (result.added, result.changed) == (0, 1)
    found = Recommender.open(tmp_path / "out").catalog
    assert found.list_price[1] == 1299.0 and not found.available[1]
    assert found.list_price[2] == shop.catalog.list_price[2] and found.available[2]
    said = capsys.readouterr().out
    assert "told refresh_catalog items: 1 of 4 rows rejected: item_id is null: 1" in said
    for column, value in (("price", "-5"), ("available", "perhaps")):
        assert f"{column} cannot be read in 1 row ('{value}' 1), taken as unknown" in said


def test_a_shops_own_columns_words_and_times_are_read(registered, shop, tmp_path, capsys):
    known = shop.catalog.item_id[1].as_py()
    rows = ["sku,name,cost,updated", f"{known},newest,12,02/03/2026", f"{known},older,11,28/02/2026",
            "own-1,Zyxgold oat drink,keiner,01/03/2026", "Keine,no item,3,01/03/2026"]  # fmt: skip
    (tmp_path / "items.csv").write_text("\n".join(rows))
    theirs = {"item_id": "sku", "title": "name", "price": "cost", "version": "updated"}
    data = {"mapping": {"user_id": "visitor", "items": theirs, "event_types": {"buy": "purchase"}},
            "time_format": "%d/%m/%Y", "null_words": ["keine", "keiner"], "items_source": "of-the-training.csv",
            "validation": {"min_events": 3}}  # fmt: skip
    result = refresh(registered[0], tmp_path / "items.csv", tmp_path / "out", data=data)
    assert (result.added, result.changed) == (1, 1)
    found = Recommender.open(tmp_path / "out").catalog
    assert found.title[1].as_py() == "newest" and found.list_price[1] == 12.0
    assert (found.item_id[-1].as_py(), found.title[-1].as_py()) == ("own-1", "Zyxgold oat drink")
    said = capsys.readouterr().out
    assert "1 of 4 rows rejected: item_id is null: 1" in said and "cannot be read" not in said


def test_invalid_options_and_missing_mapped_columns_are_refused(registered, tmp_path):
    (tmp_path / "items.csv").write_text("sku,name\na,b\n")
    for data, message in (
        ({"mapping": {"items.item_id": "sku", "items.title": "label"}}, "no column 'label' .mapped to 'title'"),
        ({"mapping": {"items.nope": "sku"}}, "items.nope"), ({"time_format": "%Q"}, "'%Q' is not known"),
        ({}, "no column 'item_id'"),
    ):  # fmt: skip
        with pytest.raises(ShoprankError, match=message):
            refresh(registered[0], tmp_path / "items.csv", tmp_path / "out", data=data)
    assert not (tmp_path / "out").exists()


def test_invalid_input_is_refused_and_leaves_nothing(registered, tmp_path):
    bad = {
        "has no column 'item_id'": pa.table({"id": ["a"]}),
        "none of the 2 items of .* are valid \\(item_id is null: 2": pa.table({"item_id": pa.array(["", None])}),
        "has no rows": pa.table({"item_id": pa.array([], pa.string())}),
    }
    for message, table in bad.items():
        pq.write_table(table, tmp_path / "items.parquet")
        with pytest.raises(ShoprankError, match=message):
            refresh(registered[0], tmp_path / "items.parquet", tmp_path / "out")
    (tmp_path / "items.parquet").write_text("item_id,title\n")
    with pytest.raises(InputError, match=r"items\.parquet cannot be read as Parquet"):
        refresh(registered[0], tmp_path / "items.parquet", tmp_path / "out")
    with pytest.raises(BundleError):
        refresh(tmp_path, tmp_path / "items.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
