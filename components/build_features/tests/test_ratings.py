"""Rated visits: their own rows, the last rating of a visit, and no file without ratings."""

import datetime

import numpy as np
import pyarrow.parquet as pq


def ratings_of(built) -> list[tuple[str, str, float]]:
    """Shopper, item and rating of every rated visit's pairs, sorted."""
    names, found = pq.read_table(built.folder / "items.parquet")["item_id"].to_pylist(), []
    for row in built.rows("ratings").to_pylist():
        pairs = zip(row["targets"], row["ratings"], strict=True)
        found += [(built.users[row["shopper"]], names[item], rating) for item, rating in pairs]
    return sorted(found)


def test_a_shop_without_ratings_has_no_rated_visits(built):
    assert not (built.folder / "rows" / "ratings.parquet").exists() and "ratings" not in built.summary.rows


def test_last_rating_of_a_visit_counts_whatever_event_carries_it(shop, built_from):
    early = sorted(shop.events, key=lambda event: event["timestamp"])[: len(shop.events) // 3]
    visit = next(event for event in early if event["session_id"] == early[40]["session_id"])
    later = visit["timestamp"] + datetime.timedelta(seconds=7)
    visit["rating"] = 2.0
    shop.events.append({**visit, "event_type": "view", "query": None, "timestamp": later, "rating": -4.5})
    other = next(event for event in early if event["session_id"] != visit["session_id"])
    other["rating"] = 3.0
    built = built_from(shop)
    expected = [(event["user_id"], event["item_id"], rating) for event, rating in ((visit, -4.5), (other, 3.0))]
    assert ratings_of(built) == sorted(expected) and built.summary.rows["ratings"] == 2
    table = built.rows("ratings")
    assert (np.array(table["last_event_at"]) < np.array(table["timestamp"])).all()
    assert table.schema.names[:-1] == built.rows("retriever").schema.names


def test_ratings_in_the_label_windows_are_excluded(shop, built_from):
    for event in shop.events:
        event["rating"] = 1.0
    built = built_from(shop)
    latest = max(row["timestamp"] for row in built.rows("ratings").to_pylist())
    assert latest < built.timeline.retriever_end
    visits = [row for row in built.rows("retriever").to_pylist() if not row["query"]]
    assert built.summary.rows["ratings"] >= len(visits), "each visit was rated"
