"""Each cleaning rule: its count, and its effect on the remaining events."""

import datetime

import duckdb
import numpy as np
import pytest

from components.build_features.cleaning import clean, limit_outliers
from components.build_features.config import CleaningConfig


def test_every_rule_counts_the_affected_events(shop, built, built_from, capsys):
    whole = len(shop.events)
    last = max(event["timestamp"] for event in shop.events)
    early = shop.events[0]["timestamp"]
    duplicates = [dict(shop.events[number]) for number in (3, 3, 40)]
    robot = [{"user_id": "robot", "item_id": f"i{n % 40:02}", "event_type": "view",
              "timestamp": early + datetime.timedelta(seconds=n)} for n in range(31)]  # fmt: skip
    orphans = [{"user_id": "u01", "item_id": "gone", "event_type": "purchase", "timestamp": early}]
    orphans += [{"user_id": "u02", "item_id": "gone", "event_type": "purchase", "timestamp": last}]
    expensive = {**shop.events[7], "price": 1e6, "session_id": "dear"}
    shop.events += [*duplicates, *robot, *orphans, expensive]
    found = built_from(shop, cleaning=CleaningConfig(robot_events_per_day=30, price_quantile=0.9))
    counts = found.summary.cleaning
    assert counts["events_read"] == whole + 3 + 31 + 2 + 1
    assert counts["duplicates_merged"] == 3
    assert counts["robot_events_dropped"] == 31
    assert counts["orphan_events_dropped"] == 2
    assert counts["price_outliers"] == 1
    assert counts["events_kept"] == whole + 1
    assert "robot" not in found.users and "gone" not in found.catalog.item_id.to_pylist()
    assert np.nanmax(found.store.columns["price"]) == np.nanmax(built.store.columns["price"])
    assert found.summary.metrics()["robot_events_dropped"] == 31.0
    said = capsys.readouterr().out
    assert f"told build_features 3 of {counts['events_read']:,} events repeat another one and are merged" in said
    assert "31 of" in said and "of 1 shopper with more than 30 events on a day (features.cleaning.robot" in said


def test_busy_day_below_the_limit_is_not_a_robot(shop, built_from):
    early = shop.events[0]["timestamp"]
    shop.events += [
        {"user_id": "busy", "item_id": "i01", "event_type": "view", "timestamp": early + datetime.timedelta(seconds=n)}
        for n in range(30)
    ]
    found = built_from(shop, cleaning=CleaningConfig(robot_events_per_day=30))
    assert found.summary.cleaning["robot_events_dropped"] == 0 and "busy" in found.users


@pytest.fixture
def outliers(shop, tmp_path):
    """Clean a shop, limit its outliers by events before a time, and return the rows of `clean` and the counts."""

    def run(retriever_end: int, **config) -> tuple[list[tuple], dict[str, int]]:
        events, items = shop.write(tmp_path)
        with duckdb.connect() as database:
            clean(database, events, items, CleaningConfig())
            counts = limit_outliers(database, retriever_end, CleaningConfig(**config))
            return database.execute("SELECT price, quantity FROM clean ORDER BY timestamp, user_id").fetchall(), counts

    return run


def test_quantities_are_capped_and_nulls_stay_null(shop, outliers):
    shop.events[0]["quantity"] = None
    shop.events[1]["quantity"] = 500.0
    rows, counts = outliers(2**40, quantity_quantile=0.99)
    assert counts["quantity_outliers"] == 1
    quantities = [quantity for _, quantity in rows]
    assert quantities.count(None) == 1 and max(filter(None, quantities)) == 1.0


def test_later_prices_do_not_affect_the_limit(shop, outliers):
    shop.events.sort(key=lambda event: event["timestamp"])
    middle = int(shop.events[len(shop.events) // 2]["timestamp"].timestamp())
    shop.events[4]["price"] = 5_000.0
    for event in shop.events[len(shop.events) // 2 :]:
        event["price"] = 4_000.0
    rows, counts = outliers(middle, price_quantile=0.9)
    prices = [price for price, _ in rows]
    assert counts["price_outliers"] == 1 + sum(event["price"] == 4_000.0 for event in shop.events)
    assert max(filter(None, prices)) < 200


@pytest.mark.parametrize("price", [None, 0.0])
def test_a_column_without_a_positive_value_has_no_limit(shop, outliers, price):
    for event in shop.events:
        event["price"] = price
    shop.events[-1]["price"] = 3.0
    rows, counts = outliers(int(shop.events[0]["timestamp"].timestamp()) + 1)
    assert counts["price_outliers"] == 0 and (3.0 in [price for price, _ in rows])
