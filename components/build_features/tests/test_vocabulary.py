"""Vocabulary rows: most frequent first, row 0 for unknown values, and only past events count."""

import collections
import datetime

import numpy as np
import pytest

from components.build_features.config import FeatureOptions, VocabularyConfig
from components.shared.errors import InputError


def counts_before(shop, time: int, key: str) -> collections.Counter:
    return collections.Counter(
        event[key] for event in shop.events if event["timestamp"].timestamp() < time and event.get(key)
    )


def test_shoppers_and_items_are_ordered_by_count_before_retriever_end(shop, built):
    end = built.timeline.retriever_end
    users = counts_before(shop, end, "user_id")
    assert built.users[1:] == sorted(users, key=lambda user: (-users[user], user))
    items = counts_before(shop, end, "item_id")
    every = [item["item_id"] for item in shop.items]
    assert built.catalog.item_id.to_pylist()[1:] == sorted(every, key=lambda item: (-items[item], item))
    assert built.catalog.known_items == sum(count >= 2 for count in items.values())
    assert built.spec.item("item").rows == built.catalog.known_items + 1


def test_row_zero_is_an_unavailable_item_without_features(built):
    catalog = built.catalog
    assert catalog.item_id[0].as_py() == "" and not catalog.available[0] and np.isnan(catalog.price[0])
    assert "" not in catalog.row_of
    for name, ragged in catalog.features.items():
        assert not ragged.take(np.array([0])).values.any(), name


def test_rare_shoppers_and_items_share_the_unknown_row(shop, built_from):
    found = built_from(shop, vocabulary=VocabularyConfig(min_item_events=20, min_user_events=60))
    catalog, items = found.catalog, counts_before(shop, found.timeline.retriever_end, "item_id")
    known = {item for item, count in items.items() if count >= 20}
    assert 0 < len(known) < len(shop.items)
    rows = catalog.embedding_row(np.arange(len(catalog)))
    assert {catalog.item_id[int(row)].as_py() for row in np.flatnonzero(rows)} == known
    assert rows.max() == len(known) == found.spec.user("sequence").rows - 1
    users = found.rows("test")["user"].combine_chunks().values.to_numpy()
    assert 0 in users and users.max() < found.spec.user("user").rows
    for split in ("retriever", "test"):
        assert found.rows(split)["sequence"].combine_chunks().values.to_numpy().max() <= len(known)


def test_limited_rows_go_to_the_most_frequent_and_recent(shop, built_from):
    limits = VocabularyConfig(item_rows=5, user_rows=4, row_half_life_days=3.0)
    found = built_from(shop, vocabulary=limits)
    end = found.timeline.retriever_end
    for key, rows, names in (("item_id", 5, found.catalog.item_id.to_pylist()), ("user_id", 4, found.users)):
        weights = collections.defaultdict(float)
        for event in shop.events:
            age = end - event["timestamp"].timestamp()
            if age > 0 and event.get(key):
                weights[event[key]] += 2.0 ** (-age / 86_400 / 3.0)
        counts = counts_before(shop, end, key)
        frequent = [one for one in weights if counts[one] >= 2]
        expected = sorted(frequent, key=lambda one, weights=weights: (-round(weights[one], 9), one))
        assert names[1 : len(expected) + 1] == expected and len(expected) > rows
        assert set(expected[:rows]) != set(
            sorted(frequent, key=lambda one, counts=counts: (-counts[one], one))[:rows]
        ), key
    assert found.spec.item("item").rows == found.spec.user("sequence").rows == 6 and found.spec.user("user").rows == 5
    assert found.catalog.embedding_row(np.arange(len(found.catalog))).max() == 5
    known = set(found.catalog.item_id.to_pylist()[1:6])
    later = [e["item_id"] in known for e in shop.events if e["timestamp"].timestamp() >= end and e.get("item_id")]
    assert found.summary.metrics()["later_events_known"] == pytest.approx(np.mean(later), abs=0.02)


@pytest.mark.parametrize("name", ["item_rows", "user_rows"])
def test_a_negative_number_of_rows_is_refused(name):
    with pytest.raises(InputError, match=f"features.vocabulary.{name} is -1"):
        FeatureOptions.read({"vocabulary": {name: -1}}, "features")


def test_shoppers_and_items_first_seen_later_have_no_own_row(shop, built_from):
    late = max(event["timestamp"] for event in shop.events) - datetime.timedelta(hours=9)
    shop.items.append({"item_id": "new", "title": "Whole Milk"})
    shop.events += [
        {"user_id": "newcomer", "item_id": "new", "event_type": "purchase", "price": 7.0,
         "timestamp": late + datetime.timedelta(minutes=n)}
        for n in range(5)
    ]  # fmt: skip
    found = built_from(shop)
    row = found.catalog.row_of["new"]
    assert row > found.catalog.known_items
    assert found.users.index("newcomer") > found.store.known_users
    # Later prices are shown to people but hidden from models, since they would leak the future.
    assert np.isnan(found.catalog.price[row]) and found.catalog.list_price[row] == 7.0
    histories = found.store.before(np.array([found.users.index("newcomer")]), np.array([found.spec.as_of]), 10)
    assert histories.user.tolist() == [0] and set(histories.item.tolist()) == {row}


def test_tokens_of_chinese_and_english_titles_share_one_vocabulary(shop, built):
    tokens = built.vocabulary("token")
    assert {"milk", "bread", "燕", "燕麦", "牛奶", "奶", "apple"} <= set(tokens)
    counts = collections.Counter(
        token for item in shop.items for token in {"燕麦奶": ["奶"], "全脂牛奶": ["奶"], "Oat Milk": ["milk"],
                                                   "Whole Milk": ["milk"]}.get(item["title"] or "", [])
    )  # fmt: skip
    assert tokens.index("milk") < tokens.index("燕麦") and counts["奶"] == counts["milk"]
    row = next(item["item_id"] for item in shop.items if item["title"] == "燕麦奶")
    ids = built.catalog.features["title"].take(np.array([built.catalog.row_of[row]])).values
    assert [tokens[token] for token in ids] == ["燕", "麦", "奶", "燕麦", "麦奶"]


def test_rare_tokens_are_left_out_and_the_vocabulary_is_bounded(shop, built_from):
    shop.items[0]["title"] = "onceonly milk"
    found = built_from(shop, vocabulary=VocabularyConfig(max_tokens=5))
    tokens = found.vocabulary("token")
    assert len(tokens) == 1 + 5 and "onceonly" not in tokens
    assert found.spec.item("title").rows == found.spec.user("query").rows == 6


def test_equal_names_in_different_branches_are_different_categories(built):
    names = built.vocabulary("category")
    assert names[1] == "food", "the root stands on every item"
    assert "food > aisle 1" in names and "aisle 1" not in names
    assert built.spec.item("category").rows == built.spec.user("interest_category").rows == len(names)


def test_price_buckets_follow_the_edges(built):
    edges = np.array(built.spec.price_edges, np.float32)
    assert (np.diff(edges) > 0).all()
    buckets = built.catalog.features["price_bucket"].values
    for price, bucket in zip(built.catalog.price[1:], buckets[1:], strict=True):
        assert bucket == (0 if np.isnan(price) else 1 + (price > edges).sum())
    assert buckets.max() < built.spec.item("price_bucket").rows
    scaled = np.log1p(built.catalog.price[1:].astype(float))
    assert built.spec.price_log_mean == np.nanmean(scaled).round(12) or abs(
        built.spec.price_log_mean - np.nanmean(scaled)
    ) < 1e-5  # fmt: skip
