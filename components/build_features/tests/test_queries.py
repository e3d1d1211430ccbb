"""Queries of the log that may be suggested, and creation times of items."""

import datetime

import pyarrow.parquet as pq

from components.shared.features.vocabulary import read_queries


def test_queries_of_several_shoppers_are_counted_without_case(shop, built_from):
    first, second = (next(event for event in shop.events if event["user_id"] == user) for user in ("u00", "u01"))
    for event, query in ((first, "Oat  Drink"), (second, " oat  drink "), (first, "my secret"), (second, "  ")):
        shop.events.append({**event, "event_type": "search", "item_id": None, "query": query})
    found = read_queries(built_from(shop).folder)
    assert found["oat  drink"] == 2 and found["牛奶"] >= 2 and found["milk"] >= 2
    assert "my secret" not in found, "only one shopper searched for it"
    assert "" not in found and list(found.values()) == sorted(found.values(), reverse=True)


def test_a_shop_without_queries_has_no_file(shop, built_from):
    for event in shop.events:
        event.pop("query", None)
    assert read_queries(built_from(shop).folder) == {}


def test_creation_times_reach_the_catalog(shop, built_from):
    day = datetime.datetime(2024, 2, 3, tzinfo=datetime.UTC)
    shop.items[0]["created_at"] = day
    table = pq.read_table(built_from(shop).folder / "items.parquet")
    times = dict(zip(table["item_id"].to_pylist(), table["created_at"].to_pylist(), strict=True))
    assert times[shop.items[0]["item_id"]] == day and times[shop.items[1]["item_id"]] is None
