"""Small, empty or unusual data: a valid folder, or an error that names the cause and leaves no output."""

import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.build_features.build import build
from components.build_features.config import CleaningConfig, FeatureOptions
from components.shared.disk import new_array
from components.shared.errors import DataError, InputError, SchemaError, ShoprankError
from components.shared.tests.small_disk import small_file_system


def build_error(shop, folder, kind: type[ShoprankError] = DataError) -> ShoprankError:
    events, items = shop.write(folder)
    with pytest.raises(kind) as caught:
        build(
            events,
            items,
            folder / "features",
            FeatureOptions(horizon_days=5.0, cleaning=CleaningConfig(time_outlier_share=0)),
        )
    assert sorted(path.name for path in folder.iterdir()) == ["events", "items"], "nothing may be left half-written"
    assert caught.value.headline and caught.value.fix
    return caught.value


def test_no_events_are_refused(shop, tmp_path):
    shop.events.clear()
    assert "no event is left" in build_error(shop, tmp_path).headline


def test_no_items_are_refused(shop, tmp_path):
    shop.items.clear()
    error = build_error(shop, tmp_path)
    assert "no event is left" in error.headline and f"'orphan_events_dropped': {len(shop.events)}" in error.headline


def test_error_for_a_folder_without_files_names_it(shop, tmp_path):
    events, items = shop.write(tmp_path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"events: .*nothing has no Parquet"):
        build(tmp_path / "nothing", items, tmp_path / "out", FeatureOptions())
    with pytest.raises(InputError, match=r"items: .*nothing has no Parquet"):
        build(events, tmp_path / "nothing", tmp_path / "out", FeatureOptions())
    assert not (tmp_path / "out").exists()


def test_error_for_events_of_an_earlier_release_asks_to_ingest_again(shop, tmp_path):
    events, items = shop.write(tmp_path)
    file = sorted(events.rglob("*.parquet"))[-1]
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns("rating"), file)
    with pytest.raises(SchemaError, match="lack the column 'rating'") as caught:
        build(events, items, tmp_path / "out", FeatureOptions())
    assert file.name in caught.value.headline and "ingest them again" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_searches_without_items_are_refused(shop, tmp_path):
    for event in shop.events:
        event.update(item_id=None, event_type="search", query="milk")
    assert "column 'item_id'" in build_error(shop, tmp_path).headline


def test_events_with_the_same_timestamp_are_refused(shop, tmp_path):
    for event in shop.events:
        event["timestamp"] = shop.events[0]["timestamp"]
    assert "column 'timestamp'" in build_error(shop, tmp_path).headline


def test_error_for_a_window_without_purchases_names_the_split(shop, tmp_path):
    shop.events.sort(key=lambda event: event["timestamp"])
    last = shop.events[-1]["timestamp"]
    gap_start = last - datetime.timedelta(days=25)
    shop.events = [event for event in shop.events if event["timestamp"] < gap_start or event["timestamp"] == last]
    shop.events[-1]["event_type"] = "purchase"
    assert "split 'ranker-0' is empty" in build_error(shop, tmp_path).headline


def test_one_shopper_is_enough(make_shop, built_from):
    found = built_from(make_shop(users=1))
    assert found.users == ["", "u00"] and found.summary.rows["test"] == 1


def test_one_item_is_enough(make_shop, built_from):
    shop = make_shop()
    shop.items = [item for item in shop.items if item["item_id"] == shop.events[0]["item_id"]]
    found = built_from(shop)
    assert len(found.catalog) == 2 and found.summary.rows["test"] >= 1
    assert found.rows("test")["targets"].to_pylist() == [[1]] * found.summary.rows["test"]


def test_null_columns_disable_only_their_own_features(shop, built_from):
    for event in shop.events:
        event.update(price=None, quantity=None, query=None, session_id=None)
    for item in shop.items:
        item.update(title=None, brand=None, categories=None)
    found = built_from(shop)
    assert found.summary.rows["retriever"] > 50, "without sessions a day is a visit"
    assert found.spec.price_edges == () and found.spec.price_log_std == 1.0
    assert found.catalog.title.to_pylist()[1:] == found.catalog.item_id.to_pylist()[1:]
    rows = found.rows("test")
    for name in ("interest_category", "interest_brand", "query"):
        assert not any(rows[name].to_pylist()), name
    assert all(rows["sequence"].to_pylist())


def test_nested_nulls_in_a_category_path_are_skipped(shop, built_from):
    shop.items[0]["categories"] = ["food", None, "odd"]
    shop.items[1]["categories"] = [""]
    assert "food > odd" in built_from(shop).vocabulary("category")


def test_without_purchases_the_next_strongest_event_is_the_target(shop, built_from):
    for event in shop.events:
        if event["event_type"] == "purchase":
            event["event_type"] = "cart"
    assert built_from(shop).spec.target_event == "cart"


def test_one_purchase_among_many_views_is_not_the_target(shop, built_from, capsys):
    purchases = [event for event in shop.events if event["event_type"] == "purchase"]
    for event in purchases[1:]:
        event["event_type"] = "view"
    found = built_from(shop)
    assert found.spec.target_event == "view"
    assert "models predict 'view', because there are only 1 purchase events" in capsys.readouterr().out


def test_target_is_an_option(shop, built_from, tmp_path):
    assert built_from(shop, target="view").spec.target_event == "view"
    with pytest.raises(DataError, match=r"features.target is 'impression', and no event with an item is of that type"):
        built_from(shop, target="impression")


def test_folder_name_may_contain_quotes(shop, tmp_path):
    folder = tmp_path / "the shop's 'data'"
    summary = build(*shop.write(folder), folder / "features", FeatureOptions(horizon_days=5.0))
    assert summary.rows["test"] > 0 and (folder / "features" / "spec.json").exists()


def test_earlier_result_survives_a_failed_build_and_is_replaced_entirely(shop, tmp_path):
    events, items = shop.write(tmp_path)
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "stale.json").write_text("{}")
    with pytest.raises(InputError):
        build(tmp_path / "gone", items, tmp_path / "features", FeatureOptions(horizon_days=5.0))
    assert (tmp_path / "features" / "stale.json").exists()
    build(events, items, tmp_path / "features", FeatureOptions(horizon_days=5.0))
    assert not (tmp_path / "features" / "stale.json").exists()


@pytest.fixture
def small_disk(tmp_path):
    with small_file_system(tmp_path, "400k") as disk:
        yield disk


def test_full_disk_is_refused_and_leaves_no_output(shop, tmp_path, small_disk):
    events, items = shop.write(tmp_path / "raw")
    with pytest.raises(InputError, match="cannot write"):
        build(events, items, small_disk / "features", FeatureOptions(horizon_days=5.0))
    assert not list(small_disk.iterdir())


def test_array_on_a_full_disk_raises_an_error(small_disk):
    with pytest.raises(OSError, match="No space left"):
        new_array(small_disk / "item.npy", np.int64, 1_000_000)
